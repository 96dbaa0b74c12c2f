"""Asks one address of a name for this edge's own token, as a CA does for http-01: on port 80, over IPv4 or IPv6.

By RFC 8555 §8.3 and Let's Encrypt's rules it follows at most ten redirects, to http and https on ports 80 and 443 only,
and does not check the certificate behind an https redirect. Names are resolved once, and each address is judged before
it is connected to. Gathers facts, decides nothing, and keeps nothing of what another server says.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urljoin, urlsplit

from certstore.acme.challenge_kind import WayProbe
from certstore.acme.dns_facts import Resolver
from certstore.model.challenge import CHALLENGE_PATH
from certstore.model.renewal.preflight_facts import Answer, Lookup, ProbeFacts, WayFacts
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.addresses import is_address
from certstore.net.bounded_http import AnswerTooLong, BoundedStream, Deadline
from certstore.net.lanes import Budget

MAX_REDIRECTS = 10
ADDRESS_SECONDS = 6.0
"""Time for one address with all its redirects."""
_ANSWER_LIMIT = 65_536
"""Bytes of head and body together: the token's answer is a hundredth of it."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to use in place of 80, 443 and 53; others only in tests."""

    http: int = 80
    https: int = 443
    dns: int = 53


USUAL_PORTS = Ports()
NO_OTHERS = ProbeTargets()
"""Only what every CA could reach."""


def probe_each(type_: str, probe: Callable[[str, str, Budget], ProbeFacts]) -> WayProbe:
    """Ask each address of a name by `probe`, which takes the name, one address and the time, until the time is over."""

    def probe_name(name: str, addresses: Sequence[str], budget: Budget) -> WayFacts:
        probes = []
        for address in addresses:
            if budget.is_over:
                break
            probes.append(probe(name, address, budget))
        return WayFacts(type_, tuple(probes), is_whole=not budget.is_over)

    return probe_name


@dataclass(frozen=True, slots=True)
class NameProbe:
    """This edge publishes `token` with `content`. `allows` says whether an address and port may be connected to. May be
    used from several threads."""

    resolver: Resolver
    token: str
    content: bytes
    allows: Callable[[str, int], bool]
    ports: Ports = USUAL_PORTS
    seconds: float = ADDRESS_SECONDS

    def probe(self, name: str, address: str, budget: Budget) -> ProbeFacts:
        """Never raises."""
        own = Budget(self.seconds, budget)
        with Deadline(own.seconds) as deadline:
            facts = self._probe(name, address, own, deadline)
            return facts if facts.answer is Answer.OURS or not deadline.is_over else _timed_out(facts)

    def _probe(self, name: str, address: str, budget: Budget, deadline: Deadline) -> ProbeFacts:
        if not self.allows(address, self.ports.http):
            return ProbeFacts(address, Answer.NOT_ASKED)
        url, at = f"http://{name}{CHALLENGE_PATH}{self.token}", address
        seen: list[str] = []
        while True:
            seen.append(url)
            parts = urlsplit(url)
            is_here = parts.hostname == name
            try:
                status, location, body = self._fetch(parts, at, budget, deadline)
            except (OSError, http.client.HTTPException, ValueError) as error:
                # A redirect to another name leads to another server, even if no connection was made.
                answer = _answer_to(error) if is_here else Answer.REDIRECT_ELSEWHERE
                return ProbeFacts(address, answer, port=self._port(parts))
            if status == http.client.OK and body == self.content:
                return ProbeFacts(address, Answer.OURS)
            if status not in _REDIRECTS or not location:
                return ProbeFacts(address, Answer.WRONG if is_here else Answer.REDIRECT_ELSEWHERE)
            found = self._follow(name, address, location, seen, budget)
            if isinstance(found, Answer):
                return ProbeFacts(address, found)
            url, at = found

    def _follow(
        self, name: str, address: str, location: str, seen: list[str], budget: Budget
    ) -> tuple[str, str] | Answer:
        """The URL of a redirect and the address to ask for it, or why it is not followed."""
        url = _target(seen[-1], location)
        if url is None:
            return Answer.REDIRECT_FORBIDDEN
        if url in seen:
            return Answer.REDIRECT_LOOP
        if len(seen) > MAX_REDIRECTS:
            return Answer.TOO_MANY_REDIRECTS
        parts = urlsplit(url)
        host = parts.hostname or ""
        at = address if host == name else self._address_of(host, budget)
        if at is None:
            return Answer.REDIRECT_ELSEWHERE
        return (url, at) if self.allows(at, self._port(parts)) else Answer.REDIRECT_FORBIDDEN

    def _port(self, parts: SplitResult) -> int:
        return self.ports.https if parts.scheme == "https" else self.ports.http

    def _fetch(
        self, parts: SplitResult, address: str, budget: Budget, deadline: Deadline
    ) -> tuple[int, str | None, bytes]:
        if budget.is_over:
            raise TimeoutError
        # The timeout is for connecting; the deadline ends everything else.
        plain = socket.create_connection((address, self._port(parts)), budget.left)
        with contextlib.closing(plain):
            deadline.follow(plain)
            is_tls = parts.scheme == "https"
            stream = _unverified().wrap_socket(plain, server_hostname=parts.hostname) if is_tls else plain
            with contextlib.closing(stream):
                connection = http.client.HTTPConnection(parts.hostname or "")
                connection.sock = BoundedStream(stream, _ANSWER_LIMIT)
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"Host": parts.netloc, "User-Agent": "certedge preflight", "Connection": "close"}
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                return response.status, response.getheader("Location"), response.read(len(self.content) + 1)

    def _address_of(self, host: str, budget: Budget) -> str | None:
        for version in (6, 4):
            lookup, addresses = self.resolver.addresses(host, version=version, seconds=budget.left)
            if lookup is Lookup.FOUND and addresses:
                return addresses[0]
        return None


def _target(url: str, location: str) -> str | None:
    """Where a redirect leads. None where no CA follows it (another port, an address), or where it is not a URL."""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        place = (parts.scheme, parts.port)
    except ValueError:
        return None
    usual = {("http", None), ("http", 80), ("https", None), ("https", 443)}
    return target if parts.hostname and place in usual and not is_address(parts.hostname) else None


def _timed_out(facts: ProbeFacts) -> ProbeFacts:
    """Cut off, which looks like any fault of the connection."""
    return replace(facts, answer=Answer.TIMED_OUT)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_NOT_HTTP = (
    http.client.HTTPException, AnswerTooLong, ssl.SSLError, ConnectionResetError, BrokenPipeError, ValueError,
)  # fmt: skip


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer.REFUSED
    if isinstance(error, TimeoutError):
        return Answer.TIMED_OUT
    if isinstance(error, _NOT_HTTP):
        return Answer.NO_HTTP
    return Answer.UNREACHABLE
