"""What holds for every request, before any page or API looks at it: whose host it names, how large it is, from where it
comes; and for every response: the headers that keep browsers from doing anything that is not meant.

An ASGI layer around the app. Knows nothing of users.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, MutableMapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from certstore.model.settings.models import Settings
from certstore.model.trusted_proxies import Network, is_trusted_proxy

BODY_LIMIT = 4 << 20
"""Two certificate files of the size that intake takes, in base64, with room to spare."""

_DISCARD_LIMIT = 64 << 20
"""So much of a body that is too large is read and thrown away: a browser shows the answer only once it has sent all."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Set-up links have a secret in their query. `no-referrer` would make browsers hide the origin from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True, slots=True)
class Origins:
    """Under which names the console is reached, and whom it believes about a client's address."""

    hosts: Callable[[], Collection[str]]
    public_host: str | None
    trusted: Sequence[Network]

    @classmethod
    def of(cls, settings: Settings, main_names: Callable[[], Collection[str]]) -> Origins:
        public = settings.admin.public_host
        fixed = {"localhost", settings.admin.listen.host, *([public] if public else [])}
        return cls(lambda: {*fixed, *main_names()}, public, settings.trusted_proxies)

    def is_ours(self, host: str) -> bool:
        """A page of somebody else, whose name was pointed at this address, is not answered (DNS rebinding)."""
        return _is_address(host) or host in self.hosts()

    def client_address(self, peer: str, host: str, forwarded: str) -> str:
        """Behind the edge it is whom the edge saw, or where that is a trusted proxy, whom that one saw; anybody else's
        word on it counts for nothing."""
        if host != self.public_host or not (_is_loopback(peer) or is_trusted_proxy(peer, self.trusted)):
            return peer
        address = peer
        for said in reversed(forwarded.split(",")):
            if not _is_address(said.strip()):
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
    return _is_address(peer) and ipaddress.ip_address(peer).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class BodyTooLarge(Exception):
    """The request's body is beyond the limit; it has been read to its end, or so far as is reasonable."""


class Guard:
    """Wraps the app; see the module."""

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
        # A proxy may add a line of its own behind the client's instead of lengthening that (RFC 9110 §5.3).
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        address = self._origins.client_address(peer, host, forwarded)
        is_public = host == self._origins.public_host
        scope.setdefault("state", {}).update(address=address, is_public=is_public)
        send = _with_headers(scope["path"], send)
        if not self._origins.is_ours(host):
            await _answer(send, 421, "this server answers under its own host name and addresses only")
            return
        await self.app(scope, _Limited(receive, scope["state"]).receive, send)


class _Limited:
    """Counts what comes; beyond the limit it reads on for a while, and then raises in the app, which answers.

    The mark in the request's state is for what the app's parsers make of that exception.
    """

    def __init__(self, receive: Receive, state: MutableMapping[str, object]) -> None:
        self._receive = receive
        self._state = state
        self._count = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count <= BODY_LIMIT:
            return message
        self._state["is_too_large"] = True
        while message.get("more_body", False) and self._count < _DISCARD_LIMIT:
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


async def _answer(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
