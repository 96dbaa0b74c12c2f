"""Checks every request before any page or API: its host, its size and its client's address. Adds security headers to
every response.

An ASGI layer around the app. Knows nothing of users.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, MutableMapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from certstore.model.settings.addresses import is_address
from certstore.model.settings.models import Settings
from certstore.model.trusted_proxies import Network, is_trusted_proxy

BODY_LIMIT = 4 << 20
"""Two certificate files of the largest accepted size, in base64, with room to spare."""

ENTRANCE_LIMIT = 64 << 10
"""What strangers may send: a name, a password, a code."""
_ENTRANCE = frozenset({"/signin", "/signout", "/setup"})

_DISCARDED = 16
"""How much more of a body that is too large is read and discarded: a browser shows the answer only after sending it
all."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Set-up links have a secret in their query. `no-referrer` would make browsers omit the origin of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """The names under which the console is reached, and the proxies that it trusts about a client's address."""

    hosts: Callable[[], Collection[str]]
    public_host: str | None
    trusted: Sequence[Network]

    @classmethod
    def of(cls, settings: Settings, main_names: Callable[[], Collection[str]]) -> Origins:
        public = settings.admin.public_host
        fixed = {"localhost", settings.admin.listen.host, *([public] if public else [])}
        return cls(lambda: {*fixed, *main_names()}, public, settings.trusted_proxies)

    def is_ours(self, host: str) -> bool:
        """False for a foreign name that points to this address (DNS rebinding)."""
        return is_address(host) or host in self.hosts()

    def client_address(self, peer: str, host: str, forwarded: str) -> str:
        """Behind the edge, the address that the edge saw, or the one that a trusted proxy in front of it saw. Nobody
        else is believed."""
        if host != self.public_host or not (_is_loopback(peer) or is_trusted_proxy(peer, self.trusted)):
            return peer
        address = peer
        for said in reversed(forwarded.split(",")):
            if not is_address(said.strip()):
                break
            address = str(ipaddress.ip_address(said.strip()))
            if not is_trusted_proxy(address, self.trusted):
                break
        return address


def host_of(header: str) -> str:
    """The host without its port, in lower case."""
    host = header.rpartition(":")[0] if not header.endswith("]") and ":" in header else header
    return host.strip("[]").lower()


def _is_loopback(peer: str) -> bool:
    return is_address(peer) and ipaddress.ip_address(peer).is_loopback


class BodyTooLarge(Exception):
    """The request's body is too large. It has been read to its end, or up to a second limit."""


class Guard:
    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        peer = scope["client"][0] if scope.get("client") else ""
        # A proxy may add a second field line instead of extending the client's (RFC 9110 §5.3).
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        address = self._origins.client_address(peer, host, forwarded)
        is_public = host == self._origins.public_host
        scope.setdefault("state", {}).update(address=address, is_public=is_public)
        send = _with_headers(scope["path"], send)
        if not self._origins.is_ours(host):
            refused = PlainTextResponse("this server answers only under its own host names and addresses\n", 421)
            await refused(scope, receive, send)
            return
        limit = ENTRANCE_LIMIT if scope["path"] in _ENTRANCE else BODY_LIMIT
        await self.app(scope, _Limited(receive, scope["state"], limit).receive, send)


class _Limited:
    """Counts the body. Beyond the limit it discards for a while, then raises in the app, which answers.

    It also marks the request's state, because the app's parsers may turn that exception into another.
    """

    def __init__(self, receive: Receive, state: MutableMapping[str, object], limit: int) -> None:
        self._receive = receive
        self._state = state
        self._limit = limit
        self._count = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count <= self._limit:
            return message
        self._state["is_too_large"] = True
        while message.get("more_body", False) and self._count < self._limit * _DISCARDED:
            message = await self._receive()
            self._count += len(message.get("body", b""))
        raise BodyTooLarge


def _with_headers(path: str, send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
        await send(message)

    return wrapped
