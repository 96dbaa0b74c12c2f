"""tls-alpn-01 (RFC 8737): key authorizations as files, from which the edge's workers make validation certificates.

A name's file appears whole, by rename. There is one per name, as the CA's hello names nothing else. A preflight
publishes its mark only where no order has published a proof, and an order replaces the mark of a preflight.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from cryptography import x509

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, WayProbe
from certstore.acme.http01 import listeners_of, no_wildcards
from certstore.acme.name_probe import ADDRESS_SECONDS, NO_OTHERS, USUAL_PORTS, Ports, probe_each
from certstore.acme.network import OrderFailed
from certstore.acme.token_sharing import OneEdge, TokenSharing
from certstore.files.atomic import replace_file
from certstore.model.challenge import ACME_IDENTIFIER, ALPN_PROTOCOL, ChallengeType, acme_identifier
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import Answer, CannotProve, ProbeFacts
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.models import ListenerKind, Settings
from certstore.net.bounded_http import Deadline
from certstore.net.lanes import Budget
from certstore.net.own_address import OwnListener

_PREFLIGHT_MARK = "certedge-preflight."
_TIMEOUT_SECONDS = 5.0
_CONTENT_LIMIT = 4096


def tls_alpn01(
    layout: Layout,
    settings: Settings,
    ports: Ports = USUAL_PORTS,
    targets: ProbeTargets = NO_OTHERS,
    sharing: TokenSharing | None = None,
) -> ChallengeKind:
    """The kind for this store. Only the store's writer may use it. `targets` are what a preflight may connect to;
    `sharing` gives proofs to the other edges that have addresses of the same names.
    """
    has_listener = any(listener.kind is ListenerKind.HTTPS for listener in settings.listeners)
    listeners = listeners_of(settings, ListenerKind.HTTPS)
    published = PublishedProofs(layout, sharing or OneEdge())
    unfit = no_wildcards(ChallengeType.TLS_ALPN_01)

    def cannot_prove(name: str) -> CannotProve | None:
        return unfit(name) or (None if has_listener else _NO_LISTENER)

    return ChallengeKind(
        ChallengeType.TLS_ALPN_01,
        publish=lambda proofs, publishing: published.publish(proofs),
        withdraw=published.withdraw,
        self_check=partial(self_check, listeners),
        probing=partial(_probing, published, ports, targets),
        cannot_prove=cannot_prove,
        remove_stale=published.remove_stale,
    )


_NO_LISTENER = CannotProve(
    "this edge has no https listener, so it can't answer tls-alpn-01",
    "Add a listener of kind https that port 443 of the internet leads to, or take tls-alpn-01 out of the challenges.",
    is_missing=True,
)


class PublishedProofs:
    """The files. Several orders and preflights may use it at once. Methods raise OSError."""

    def __init__(self, layout: Layout, sharing: TokenSharing) -> None:
        self._layout = layout
        self._sharing = sharing
        self._lock = threading.Lock()

    def publish(self, proofs: Sequence[Proof]) -> None:
        """Return once every edge shows them. Raises OrderFailed too."""
        with self._lock:
            for proof in proofs:
                self._write(self._path(proof.name), proof.key_authorization)
        self._sharing.share(proofs)

    def withdraw(self, proofs: Iterable[Proof]) -> None:
        """Another order's proof of the same name stays."""
        gone = self._sharing.recall(proofs)
        with self._lock:
            for proof in gone:
                path = self._layout.alpn_challenge(proof.name)
                if path is not None and _read(path) == proof.key_authorization.encode("ascii"):
                    path.unlink(missing_ok=True)

    def mark(self, name: str) -> Proof:
        """Publish a preflight's mark; what an order has published stays, and does as well."""
        token = secrets.token_urlsafe(24)
        mark = Proof(name, token, _PREFLIGHT_MARK + token, ChallengeType.TLS_ALPN_01)
        with self._lock:
            path = self._path(name)
            if (content := _read(path)) is not None:
                return Proof(name, "", content.decode("ascii", "replace"), ChallengeType.TLS_ALPN_01)
            self._write(path, mark.key_authorization)
        with contextlib.suppress(OrderFailed):  # an edge without it is what the probe finds
            self._sharing.share([mark])
        return mark

    def remove_stale(self, thumbprints: Collection[str], needed: Collection[Proof]) -> int:
        """Remove what a killed process left behind, but not what other edges prove. Returns how many files."""
        kept = {proof.name for proof in needed if proof.type == ChallengeType.TLS_ALPN_01}
        with self._lock:
            if not self._layout.alpn_challenges.is_dir():
                return 0
            found = [path for path in self._layout.alpn_challenges.iterdir() if path.name not in kept]
            stale = [path for path in found if _is_ours(_read(path) or b"", thumbprints)]
            for path in stale:
                path.unlink(missing_ok=True)
        return len(stale)

    def _path(self, name: str) -> Path:
        path = self._layout.alpn_challenge(name)
        if path is None:
            raise ValueError("not a host name")
        return path

    def _write(self, path: Path, content: str) -> None:
        # Workers that run as another user than control read it. It is public by nature.
        replace_file(path, content.encode("ascii"), 0o644, self._layout.temporary, is_durable=False)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_CONTENT_LIMIT)
    except FileNotFoundError:
        return None


def _is_ours(content: bytes, thumbprints: Collection[str]) -> bool:
    text = content.decode("ascii", "replace")
    return text.startswith(_PREFLIGHT_MARK) or text.partition(".")[2] in thumbprints


def self_check(listeners: Sequence[OwnListener], proof: Proof) -> Failure | None:
    """Shake hands as the CA will, with the first listener that gives the right answer.

    Where none answers this machine, as behind a load balancer with the PROXY protocol, only the CA can tell.
    """
    problems = []
    for listener in listeners:
        try:
            with Deadline(_TIMEOUT_SECONDS) as deadline:
                shown = _shown(listener.connect(_TIMEOUT_SECONDS), proof.name, deadline)
        except (OSError, ValueError) as error:
            problems.append(f"{listener.address}: {str(error) or type(error).__name__}")
            continue
        if shown == acme_identifier(proof.key_authorization.encode("ascii")):
            return None
        problems.append(f"{listener.address}: it did not show the expected certificate")
    if not problems:
        return None
    detail = f"this edge's own https listener does not prove {proof.name} over TLS ({'; '.join(problems)})"
    advice = "Check that edge.yaml has a listener of kind https, and that the service runs: certedge status"
    return Failure(Cause.OWN_LISTENER, detail, advice=advice)


def _shown(connected: socket.socket, name: str, deadline: Deadline) -> bytes | None:
    """The acmeIdentifier that the server's certificate holds, None without one. Raises OSError, ValueError."""
    with contextlib.closing(connected):
        deadline.follow(connected)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([ALPN_PROTOCOL])
        with context.wrap_socket(connected, server_hostname=name) as stream:
            certificate = stream.getpeercert(binary_form=True)
            if certificate is None or stream.selected_alpn_protocol() != ALPN_PROTOCOL:
                return None
    for extension in x509.load_der_x509_certificate(certificate).extensions:
        if extension.oid.dotted_string == ACME_IDENTIFIER and extension.critical:
            value = extension.value
            return value.value if isinstance(value, x509.UnrecognizedExtension) else None
    return None


class _Marks:
    """Those of one preflight. A probe that goes on after its end leaves none behind. Thread-safe."""

    def __init__(self, published: PublishedProofs) -> None:
        self._published = published
        self._put: list[Proof] = []
        self._is_over = False
        self._lock = threading.Lock()

    def put(self, name: str) -> Proof:
        """What the name's https listeners show from now on: a mark, or an order's proof that was there before."""
        mark = self._published.mark(name)
        if mark.key_authorization.startswith(_PREFLIGHT_MARK):
            with self._lock:
                is_late = self._is_over
                self._put.append(mark)
            if is_late:
                self._published.withdraw([mark])
        return mark

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            put = list(self._put)
        self._published.withdraw(put)


@contextlib.contextmanager
def _probing(
    published: PublishedProofs, ports: Ports, targets: ProbeTargets, context: ProbeContext
) -> Iterator[WayProbe]:
    marks = _Marks(published)

    def probe(name: str, address: str, budget: Budget) -> ProbeFacts:
        mark = marks.put(name)
        facts = _probe(mark, address, ports.https, targets, Budget(ADDRESS_SECONDS, budget))
        if facts.answer is not Answer.WRONG:
            return facts
        if (now := marks.put(name)).key_authorization == mark.key_authorization:
            return facts
        # An order has published its proof meanwhile.
        return _probe(now, address, ports.https, targets, Budget(ADDRESS_SECONDS, budget))

    try:
        yield probe_each(ChallengeType.TLS_ALPN_01, probe)
    finally:
        marks.end()


def _probe(mark: Proof, address: str, port: int, targets: ProbeTargets, budget: Budget) -> ProbeFacts:
    """Never raises."""
    if not targets.allow(address, port):
        return ProbeFacts(address, Answer.NOT_ASKED, port)
    with Deadline(budget.seconds) as deadline:
        try:
            if budget.is_over:
                raise TimeoutError
            shown = _shown(socket.create_connection((address, port), budget.left), mark.name, deadline)
        except (OSError, ValueError) as error:
            return ProbeFacts(address, Answer.TIMED_OUT if deadline.is_over else _answer_to(error), port)
    is_ours = shown == acme_identifier(mark.key_authorization.encode("ascii"))
    return ProbeFacts(address, Answer.OURS if is_ours else Answer.WRONG, port)


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer.REFUSED
    if isinstance(error, TimeoutError):
        return Answer.TIMED_OUT
    if isinstance(error, ssl.SSLError):
        return Answer.WRONG if " alert " in str(error) else Answer.NO_TLS
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Answer.NO_TLS
    return Answer.WRONG if isinstance(error, ValueError) else Answer.UNREACHABLE
