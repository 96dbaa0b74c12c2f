import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certstore.cluster.invitation import LIFETIME, Bundle, EngineAccess, Invitation, InvitationUnusable
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Role

NOW = datetime(2026, 11, 30, 20, tzinfo=UTC)
RING = KeyRing.draw("edge-a")
CLIENT = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
ACCESS = EngineAccess(("https://10.0.0.11:2379", "https://10.0.0.12:2379"), "-----BEGIN CERTIFICATE-----\n", CLIENT)
BY_PASSWORD = EngineAccess(("https://10.0.0.11:2379",), "ca", username="certedge", password="correct horse")
INVITATION = Invitation.draw(RING.cluster, "edge-b", Role.EDGE, ACCESS, NOW)
BUNDLE = Bundle(RING.for_member("edge-b", Role.EDGE, NodeKeys.draw()), b"CE1 the member", 12)
SEALED = BUNDLE.seal(INVITATION)
TEXT = INVITATION.to_text()


@pytest.mark.parametrize("access", [ACCESS, BY_PASSWORD], ids=["a certificate", "a password"])
@pytest.mark.parametrize("role", Role)
def test_an_invitation_comes_back_from_its_text(access: EngineAccess, role: Role) -> None:
    invitation = Invitation.draw(RING.cluster, "edge-b", role, access, NOW)
    assert Invitation.from_text(invitation.to_text()) == invitation
    assert invitation.expires == NOW + LIFETIME


def test_what_surrounds_an_invitation_does_not_matter() -> None:
    assert Invitation.from_text(f"Last login: today\r\n{TEXT.replace('\n', '\r\n')}\n$ ") == INVITATION


def test_the_readable_part_names_the_node_and_no_secret() -> None:
    head, _, body = TEXT.partition("\n\n")
    assert "Node: edge-b" in head
    assert len(head.splitlines()) == 4
    decoded = base64.b64decode("".join(body.splitlines()[:-1]))
    assert INVITATION.key.hex().encode() in decoded, "the secret is in the part that is one"
    for secret in (INVITATION.key.hex(), "c2VjcmV0", "PRIVATE"):
        assert secret not in head


def test_nothing_secret_is_shown() -> None:
    for shown in (repr(INVITATION), repr(BUNDLE), repr(BY_PASSWORD), str(Invitation)):
        for secret in (INVITATION.key.hex(), repr(INVITATION.key), "c2VjcmV0", "correct horse", "the member"):
            assert secret not in shown


def test_no_cluster_key_is_in_the_text() -> None:
    decoded = base64.b64decode("".join(TEXT.partition("\n\n")[2].splitlines()[:-1])).decode()
    key = RING.sealing_key
    for secret in (key.seal_sites, key.seal_control, key.sign, BUNDLE.ring.own.sign):
        assert secret is not None
        assert secret.hex() not in decoded


def facts_of(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(base64.b64decode("".join(text.partition("\n\n")[2].splitlines()[:-1])))
    return facts


def text_of(facts: Any) -> str:
    body = base64.b64encode(json.dumps(facts).encode()).decode()
    return f"{TEXT.partition(chr(10) * 2)[0]}\n\n{body}\n{TEXT.splitlines()[-1]}\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("certedge: could not invite edge-b", id="the failure of the other command"),
        pytest.param(TEXT[:400], id="cut off"),
        pytest.param(TEXT.replace("\n\n", "\n"), id="without its blank line"),
        pytest.param(TEXT.splitlines()[0] + "\n" + TEXT.splitlines()[-1], id="only the frame"),
        pytest.param(TEXT.replace("\n\n", "\n\nä"), id="not base64"),
        pytest.param(text_of([]), id="a list"),
        pytest.param(text_of(None), id="null"),
        *(pytest.param(text_of(facts_of(TEXT) | {name: 7}), id=f"{name} is a number") for name in facts_of(TEXT)),
        pytest.param(text_of(facts_of(TEXT) | {"version": 2}), id="another version"),
        pytest.param(text_of(facts_of(TEXT) | {"node": "../x"}), id="a node that leads elsewhere"),
        pytest.param(text_of(facts_of(TEXT) | {"cluster": "0"}), id="a cluster that is none"),
        pytest.param(text_of(facts_of(TEXT) | {"identity": "../meta"}), id="a bundle elsewhere"),
        pytest.param(text_of(facts_of(TEXT) | {"key": "00"}), id="a short key"),
        pytest.param(text_of(facts_of(TEXT) | {"endpoints": []}), id="no endpoint"),
        pytest.param(text_of(facts_of(TEXT) | {"ca": "caf\ud8e9"}), id="what no file can hold"),
        pytest.param(text_of(facts_of(TEXT) | {"expires": "2026-11-30T20:00:00"}), id="no time zone"),
    ],
)
def test_what_is_not_an_invitation_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(InvitationUnusable) as unusable:
        Invitation.from_text(text)
    assert INVITATION.key.hex() not in str(unusable.value)
    assert "c2VjcmV0" not in str(unusable.value)
    assert unusable.value.__suppress_context__ or unusable.value.__context__ is None


def test_the_bundle_comes_back_with_the_key_of_its_invitation() -> None:
    assert Bundle.open(INVITATION, SEALED) == BUNDLE


def test_the_engine_sees_nothing_of_the_bundle() -> None:
    assert b"the member" not in SEALED
    assert RING.cluster.encode() not in SEALED
    for secret in (RING.sealing_key.seal_sites, BUNDLE.ring.own.sign):
        assert secret not in SEALED
        assert secret.hex().encode() not in SEALED


def test_every_changed_byte_of_the_bundle_is_refused() -> None:
    for at in range(len(SEALED)):
        damaged = bytearray(SEALED)
        damaged[at] ^= 1
        with pytest.raises(InvitationUnusable):
            Bundle.open(INVITATION, bytes(damaged))
    for length in (0, 3, 14, 15, 16, len(SEALED) - 1):
        with pytest.raises(InvitationUnusable):
            Bundle.open(INVITATION, SEALED[:length])


OTHERS: list[tuple[str, Callable[[Invitation], Invitation]]] = [
    ("another key", lambda each: replace(each, key=b"x" * 32)),
    ("another place", lambda each: replace(each, identity="00ff" * 4)),
    ("another cluster", lambda each: replace(each, cluster="00ff" * 4)),
    ("another node", lambda each: replace(each, node="edge-x")),
    ("another role", lambda each: replace(each, role=Role.FRONT)),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in OTHERS])
def test_a_bundle_opens_for_its_own_invitation_alone(change: Callable[[Invitation], Invitation]) -> None:
    with pytest.raises(InvitationUnusable):
        Bundle.open(change(INVITATION), SEALED)


def test_a_bundle_with_the_keys_of_another_node_is_refused() -> None:
    """As whoever could seal it: the invitation says what it is for."""
    false = Bundle(RING, b"member", 0).seal(INVITATION)
    with pytest.raises(InvitationUnusable):
        Bundle.open(INVITATION, false)


def test_two_invitations_share_nothing() -> None:
    other = Invitation.draw(RING.cluster, "edge-b", Role.EDGE, ACCESS, NOW + timedelta(seconds=1))
    assert other.key != INVITATION.key
    assert other.path != INVITATION.path
    assert INVITATION.path == ClusterPaths(RING.cluster).invite(INVITATION.identity)
