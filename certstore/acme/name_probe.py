"""Asks one address of a name for this edge's own token, as a CA does for http-01: on port 80, over IPv4 or IPv6.

By RFC 8555 §8.3 and Let's Encrypt's rules it follows at most ten redirects, to http and https on ports 80 and 443 only,
and does not check the certificate behind an https redirect. Gathers facts, decides nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from certstore.acme.dns_facts import Resolver
from certstore.model.challenge import CHALLENGE_PATH
from certstore.model.renewal.preflight_facts import Answer, Lookup, ProbeFacts

MAX_REDIRECTS = 10
_ANSWER_LIMIT = 4096
_SHOWN_LIMIT = 120
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to use in place of 80 and 443; others only in tests."""

    http: int = 80
    https: int = 443


USUAL_PORTS = Ports()


@dataclass(frozen=True, slots=True)
class NameProbe:
    """This edge publishes `token` with `content`. May be used from several threads."""

    resolver: Resolver
    token: str
    content: bytes
    ports: Ports = USUAL_PORTS
    seconds: float = 6.0

    def probe(self, name: str, address: str) -> ProbeFacts:
        """Never raises."""
        url = f"http://{name}{CHALLENGE_PATH}{self.token}"
        at = address
        seen: list[str] = []
        while True:
            seen.append(url)
            parts = urlsplit(url)
            try:
                status, location, body = self._fetch(parts, at)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return ProbeFacts(address, _answer_to(error), _seen_at(seen, _text_of(error)))
            if status not in _REDIRECTS or not location:
                return self._result(address, name, seen, status, body)
            target = _target(url, location)
            if target is None:
                return ProbeFacts(address, Answer.REDIRECT_FORBIDDEN, _shown(location))
            url = target
            if url in seen:
                return ProbeFacts(address, Answer.REDIRECT_LOOP, _shown(url))
            if len(seen) > MAX_REDIRECTS:
                return ProbeFacts(address, Answer.TOO_MANY_REDIRECTS, _shown(url))
            host = urlsplit(url).hostname or ""
            if host != name and (found := self._address_of(host)) is None:
                return ProbeFacts(address, Answer.REDIRECT_ELSEWHERE, f"{_shown(url)}, which has no address")
            at = address if host == name else found or address

    def _result(self, address: str, name: str, seen: list[str], status: int, body: bytes) -> ProbeFacts:
        if status == http.client.OK and body == self.content:
            return ProbeFacts(address, Answer.OURS)
        words = f"it answered {status}"
        elsewhere = urlsplit(seen[-1]).hostname != name
        answer = Answer.REDIRECT_ELSEWHERE if elsewhere else Answer.WRONG
        return ProbeFacts(address, answer, _seen_at(seen, words))

    def _fetch(self, parts: SplitResult, address: str) -> tuple[int, str | None, bytes]:
        is_tls = parts.scheme == "https"
        port = self.ports.https if is_tls else self.ports.http
        plain = socket.create_connection((address, port), self.seconds)
        with contextlib.closing(plain):
            stream = _unverified().wrap_socket(plain, server_hostname=parts.hostname) if is_tls else plain
            with contextlib.closing(stream):
                connection = http.client.HTTPConnection(parts.hostname or "", timeout=self.seconds)
                connection.sock = stream
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"Host": parts.netloc, "User-Agent": "certedge preflight"})
                response = connection.getresponse()
                return response.status, response.getheader("Location"), response.read(_ANSWER_LIMIT)

    def _address_of(self, host: str) -> str | None:
        for version in (6, 4):
            lookup, addresses = self.resolver.addresses(host, version=version)
            if lookup is Lookup.FOUND and addresses:
                return addresses[0]
        return None


def _target(url: str, location: str) -> str | None:
    """Where a redirect leads. None where no CA follows it, or where it is not a URL."""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        place = (parts.scheme, parts.port)
    except ValueError:
        return None
    usual = {("http", None), ("http", 80), ("https", None), ("https", 443)}
    return target if parts.hostname and place in usual else None


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer.REFUSED
    if isinstance(error, TimeoutError):
        return Answer.TIMED_OUT
    if isinstance(error, (http.client.HTTPException, ssl.SSLError, ConnectionResetError, BrokenPipeError, ValueError)):
        return Answer.NO_HTTP
    return Answer.UNREACHABLE


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "timed out"
    return type(error).__name__


def _seen_at(seen: list[str], words: str) -> str:
    """After a redirect, the place where it led is added."""
    return words if len(seen) == 1 else f"{words} at {_shown(seen[-1])}"


def _shown(url: str) -> str:
    """A URL from another server, made fit for one line."""
    text = "".join(each if each.isprintable() else "?" for each in url)
    return text if len(text) <= _SHOWN_LIMIT else text[:_SHOWN_LIMIT] + "…"
