"""TLS handshakes in memory, between a client of Python's `ssl` and what would serve it: for trials and probes."""

from __future__ import annotations

import ssl
from collections.abc import Buffer
from typing import Protocol

_FLIGHTS = 8
"""More than any handshake has."""


class Stage(Protocol):
    """A server connection, as far as it is needed here."""

    def feed(self, data: Buffer) -> int: ...
    def handshake(self) -> None: ...
    def output(self) -> bytes: ...


class Servable(Protocol):
    """What a site's connections start from, on an engine other than Python's `ssl`."""

    def stage(self) -> Stage: ...


class _Side:
    """A stage with the face of `ssl.SSLObject`."""

    def __init__(self, stage: Stage, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._stage, self._incoming, self._outgoing = stage, incoming, outgoing

    def do_handshake(self) -> None:
        self._stage.feed(self._incoming.read())
        try:
            self._stage.handshake()
        finally:
            self._outgoing.write(self._stage.output())


def shake_hands(
    server: ssl.SSLContext | Servable, client: ssl.SSLContext, *, session: ssl.SSLSession | None = None
) -> ssl.SSLObject:
    """One handshake; the client's side of it. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, session=session)
    theirs = (
        server.wrap_bio(to_server, to_client, server_side=True)
        if isinstance(server, ssl.SSLContext)
        else _Side(server.stage(), to_server, to_client)
    )
    sides: list[ssl.SSLObject | _Side] = [ours, theirs]
    for _ in range(_FLIGHTS):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
        if not sides:
            return ours
    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "it does not end")


def trusting_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Trusts everybody: whom clients trust is not the question here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context
