"""http-01 tokens in the store, and the check through the edge's own listener."""

from pathlib import Path

import pytest

from certstore.acme.challenge_kind import Proof, Publishing
from certstore.acme.http01 import http01, http_listeners, remove_stale_tokens, self_check
from certstore.model.renewal.failure import Cause
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import Settings
from certstore.net.own_address import OwnListener
from tests.certstore.acme.workshop import Responder, make_layout
from tests.ports import free_port

PUBLISHING = Publishing(lambda seconds: False)
PROOF = Proof("a.test", "t" * 43, f"{'t' * 43}.{'k' * 43}")


def test_proof_is_a_file_that_workers_may_read_until_it_is_withdrawn(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    kind = http01(layout, ())
    kind.publish([PROOF], PUBLISHING)
    path = layout.challenges / PROOF.token
    assert path.read_text() == PROOF.key_authorization
    assert path.stat().st_mode & 0o777 == 0o644
    kind.withdraw([PROOF])
    kind.withdraw([PROOF])
    assert list(layout.challenges.iterdir()) == []


@pytest.mark.parametrize("token", ["../x" * 5, "short", "t" * 43 + "/"])
def test_text_that_is_no_token_becomes_no_path(tmp_path: Path, token: str) -> None:
    layout = make_layout(tmp_path)
    kind = http01(layout, ())
    with pytest.raises(ValueError, match="token"):
        kind.publish([Proof("a.test", token, "x")], PUBLISHING)
    kind.withdraw([Proof("a.test", token, "x")])
    assert list(layout.challenges.iterdir()) == []


def test_one_listener_with_the_right_answer_is_enough(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    responder = Responder(layout)
    with responder.running():
        dead = OwnListener(HostPort("127.0.0.1", free_port()))
        alive = OwnListener(HostPort("127.0.0.1", responder.port))
        failure = self_check([dead, alive], PROOF)
        assert failure is not None
        assert failure.cause is Cause.OWN_LISTENER
        assert "refused" in failure.detail
        assert "404" in failure.detail
        http01(layout, ()).publish([PROOF], PUBLISHING)
        assert self_check([dead, alive], PROOF) is None
    assert {host for host, _ in responder.asked} == {"a.test"}


def test_without_an_http_listener_only_the_ca_can_tell() -> None:
    assert self_check([], PROOF) is None


def test_http_listeners_are_those_that_can_be_found() -> None:
    listeners = [
        {"kind": "http", "listen": "0.0.0.0:80", "accept_proxy_protocol": True},
        {"kind": "http", "listen": "127.0.0.1:0"},
        {"kind": "https", "listen": "0.0.0.0:443"},
    ]
    settings = Settings.model_validate({"listeners": listeners, "trusted_proxies": ["127.0.0.0/8"]})
    assert http_listeners(settings) == (OwnListener(HostPort("127.0.0.1", 80), wants_proxy_header=True),)


def test_stale_tokens_of_ours_are_removed_and_others_stay(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    kind = http01(layout, ())
    needed = Proof("b.test", "n" * 43, f"{'n' * 43}.{'k' * 43}")
    foreign = Proof("c.test", "f" * 43, f"{'f' * 43}.{'x' * 43}")
    kind.publish([PROOF, needed, foreign], PUBLISHING)
    (layout.challenges / ("l" * 43)).symlink_to(layout.challenges / PROOF.token)
    assert remove_stale_tokens(layout, ["k" * 43], [needed]) == 1
    assert {path.name[0] for path in layout.challenges.iterdir()} == {"n", "f", "l"}
