"""http-01 (RFC 8555 §8.3): key authorizations as files where the edge's workers find them.

A token's file appears whole, by rename, and is removed when its order no longer needs it. Before the CA is asked to
look, the edge looks itself, through its own listener on port 80.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, WayProbe
from certstore.acme.name_probe import NO_OTHERS, USUAL_PORTS, NameProbe, Ports, probe_each
from certstore.acme.network import OrderFailed
from certstore.acme.token_sharing import OneEdge, TokenSharing
from certstore.files.atomic import replace_file
from certstore.model.challenge import CHALLENGE_PATH, ChallengeType, is_token
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import CannotProve
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.models import ListenerKind, Settings
from certstore.net.bounded_http import BoundedStream, Deadline
from certstore.net.own_address import OwnListener, is_askable, is_local, own_listener

_PREFLIGHT_MARK = "certedge-preflight."
"""How the content of a preflight's token begins. No key authorization begins like this, as its token is random."""
_TIMEOUT_SECONDS = 5.0
_ANSWER_LIMIT = 65_536
_CONTENT_LIMIT = 4096


def http01(
    layout: Layout,
    listeners: Sequence[OwnListener],
    ports: Ports = USUAL_PORTS,
    targets: ProbeTargets = NO_OTHERS,
    sharing: TokenSharing | None = None,
) -> ChallengeKind:
    """The kind for this store. Only the store's writer may use it. `targets` are what a preflight may connect to;
    `sharing` gives tokens to the other edges that have addresses of the same names.
    """
    shown = _Shown(layout, sharing or OneEdge())
    return ChallengeKind(
        ChallengeType.HTTP_01,
        publish=lambda proofs, publishing: shown.publish(proofs),
        withdraw=shown.withdraw,
        self_check=partial(self_check, listeners),
        probing=partial(_probing, shown, ports, targets),
        cannot_prove=no_wildcards(ChallengeType.HTTP_01),
        remove_stale=partial(remove_stale_tokens, layout),
    )


def no_wildcards(type_: ChallengeType) -> Callable[[str], CannotProve | None]:
    """For a type that proves hosts only (RFC 8555 §8.3, RFC 8737 §3)."""

    def cannot_prove(name: str) -> CannotProve | None:
        if not name.startswith("*."):
            return None
        reason = f"{name} is a wildcard, which {type_} can't prove"
        return CannotProve(reason, "Add dns-01 to the challenges, or list the hosts in place of the wildcard.")

    return cannot_prove


@dataclass(frozen=True, slots=True)
class _Shown:
    """Proofs in this store's folder and on the other edges."""

    layout: Layout
    sharing: TokenSharing

    def publish(self, proofs: Sequence[Proof]) -> None:
        publish(self.layout, proofs)
        self.sharing.share(proofs)

    def withdraw(self, proofs: Iterable[Proof]) -> None:
        withdraw(self.layout, self.sharing.recall(proofs))


def http_listeners(settings: Settings) -> tuple[OwnListener, ...]:
    """The edge's http listeners, as far as they answer this machine."""
    return listeners_of(settings, ListenerKind.HTTP)


def listeners_of(settings: Settings, kind: ListenerKind) -> tuple[OwnListener, ...]:
    return tuple(
        own_listener(listener, settings.trusted_proxies)
        for listener in settings.listeners
        if listener.kind is kind and is_askable(listener, settings.trusted_proxies)
    )


def probe_targets(settings: Settings) -> ProbeTargets:
    """The edge's own listeners that a CA's request may end at, by a redirect too."""
    own = [each.listen for each in settings.listeners if each.kind in (ListenerKind.HTTP, ListenerKind.HTTPS)]
    return ProbeTargets(own, is_local, settings.acme.probe_private)


def publish(layout: Layout, proofs: Iterable[Proof]) -> None:
    for proof in proofs:
        path = layout.challenge(proof.token)
        if path is None:
            raise ValueError("not a token")
        # Workers that run as another user than control read it. It is public by nature.
        replace_file(path, proof.key_authorization.encode("ascii"), 0o644, layout.temporary, is_durable=False)


def withdraw(layout: Layout, proofs: Iterable[Proof]) -> None:
    for proof in proofs:
        if (path := layout.challenge(proof.token)) is not None:
            path.unlink(missing_ok=True)


def self_check(listeners: Sequence[OwnListener], proof: Proof) -> Failure | None:
    """Fetch the token as the CA will, from the first listener that gives the right answer.

    Without an http listener of the edge, some other server has port 80 and forwards to it: only the CA can tell then.
    """
    problems = []
    for listener in listeners:
        try:
            status, body = _fetch(listener, proof)
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{listener.address}: {str(error) or type(error).__name__}")
            continue
        if status == http.client.OK and body == proof.key_authorization.encode("ascii"):
            return None
        problems.append(f"{listener.address}: it answered {status}, without the expected content")
    if not problems:
        return None
    detail = f"this edge's own port 80 listener does not answer the challenge for {proof.name} ({'; '.join(problems)})"
    return Failure(Cause.OWN_LISTENER, detail)


def _fetch(listener: OwnListener, proof: Proof) -> tuple[int, bytes]:
    with Deadline(_TIMEOUT_SECONDS) as deadline, contextlib.closing(listener.connect(_TIMEOUT_SECONDS)) as connected:
        deadline.follow(connected)
        connection = http.client.HTTPConnection(*listener.address)
        connection.sock = BoundedStream(connected, _ANSWER_LIMIT)
        headers = {"Host": proof.name, "User-Agent": "certedge", "Connection": "close"}
        connection.request("GET", CHALLENGE_PATH + proof.token, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(_CONTENT_LIMIT)


@contextlib.contextmanager
def _probing(shown: _Shown, ports: Ports, targets: ProbeTargets, context: ProbeContext) -> Iterator[WayProbe]:
    proof = Proof("", secrets.token_urlsafe(32), _PREFLIGHT_MARK + secrets.token_urlsafe(24))
    try:
        with contextlib.suppress(OrderFailed):  # an edge without the token is what the probe finds
            shown.publish([proof])
        content = proof.key_authorization.encode("ascii")
        allow, is_own = targets.allow, targets.is_local
        probe = NameProbe(context.resolver, proof.token, content, allow, ports, is_own=is_own).probe
        yield probe_each(ChallengeType.HTTP_01, probe)
    finally:
        shown.withdraw([proof])


def remove_stale_tokens(layout: Layout, thumbprints: Collection[str], needed: Collection[Proof] = ()) -> int:
    """Remove the files that a killed process left behind, except those that are still `needed`; returns how many.

    Call it only while no order runs. Other ACME clients may put their tokens here too. Ours are those that end in the
    thumbprint of one of our accounts (RFC 8555 §8.1), and those of preflights.
    """
    kept = {proof.token for proof in needed}
    stale = [path for path in layout.challenges.iterdir() if path.name not in kept and _is_ours(path, thumbprints)]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _is_ours(path: Path, thumbprints: Collection[str]) -> bool:
    if not is_token(path.name) or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        content = file.read(_CONTENT_LIMIT).decode("ascii", "replace")
    return content.startswith(_PREFLIGHT_MARK) or content.partition(".")[2] in thumbprints
