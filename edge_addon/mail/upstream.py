"""The connection to a mail server: TCP, then the PROXY header, TLS at once or on request, back-pressure.

Knows no mail protocol: it gives its owner the received bytes, and one cause when the connection ends. TLS is always
verified, against the system's authorities or the listener's `upstream_ca_file`. Once TLS begins, only decrypted bytes
can reach the owner (RFC 3207 §5): bytes in the clear make the handshake fail.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Protocol, cast

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings, UpstreamTls
from edge_addon.transport.server_tls import TlsTransport, upstream_context
from edge_addon.transport.tcp import close_with_deadline, enable_keepalive_of

logger = logging.getLogger(__name__)

UNREACHABLE = "mail_upstream_unreachable"
TLS_FAILED = "mail_upstream_tls_failed"
GONE = "mail_upstream_gone"
PARTING_SECONDS = 1.0
"""How long a connection may still take to come about after its client has left."""


class Owner(Protocol):
    """The session that opened the connection. Once it has closed the connection, none of these is called."""

    def upstream_connected(self) -> None:
        """The connection is ready for writing, over TLS if `upstream_tls` is `tls`."""

    def upstream_secured(self) -> None:
        """The handshake that `start_tls` began is done."""

    def upstream_received(self, data: bytes) -> None: ...

    def upstream_lost(self, cause: str) -> None:
        """The connection could not be opened, or it ended. It is closed already."""

    def upstream_full(self, *, is_full: bool) -> None:
        """The send buffer became full, or has room again."""


@functools.lru_cache(maxsize=64)
def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies chain and name. Cached per file: reading a trust store takes longer than a whole mail session."""
    return upstream_context(ca_file)


@dataclass(slots=True, eq=False, repr=False)
class UpstreamLeg(asyncio.Protocol):
    """One connection, from `open` to `close`."""

    _owner: Owner | None
    _loop: asyncio.AbstractEventLoop
    _listener: ListenerSettings
    _base: Path
    _: KW_ONLY
    _header: bytes = b""
    _task: asyncio.Task[None] | None = None
    _transport: asyncio.Transport | None = None

    @property
    def address(self) -> HostPort:
        """Its mail server, which the settings of every mail listener require."""
        return cast(HostPort, self._listener.upstream)

    def open(self, header: bytes) -> None:
        """Connect and send `header` first. The owner learns the result."""
        self._header = header
        self._task = self._loop.create_task(self._open())

    def start_tls(self) -> None:
        """Begin TLS after the upstream's go-ahead. `upstream_secured` or `upstream_lost` follows."""
        try:
            ca_file = self._listener.upstream_ca_file
            context = client_context(self._base / ca_file if ca_file is not None else None)
        except OSError as error:
            self._note_handshake(error)
            return
        lower = self._transport
        if lower is None or self._owner is None:
            return
        name = self._listener.upstream_name or self.address.host
        self._transport = secure = TlsTransport(self, context, name, self._note_handshake)
        lower.set_protocol(secure)
        secure.connection_made(lower)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> bool:
        """Signal that nothing more will be sent; False if that is impossible, as over TLS."""
        if self._transport is None or not self._transport.can_write_eof():
            return False
        self._transport.write_eof()
        return True

    def read(self, *, is_wanted: bool) -> None:
        """Resume or pause reading from the upstream."""
        if self._transport is not None and not self._transport.is_closing():
            if is_wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def close(self) -> None:
        """Send what was written, then close. Safe to call at any time."""
        self._owner = None
        if self._transport is not None:
            close_with_deadline(self._transport)
        elif self._task is not None:
            # The system may have connected already, and the server waits for the header: it logs one that never comes.
            self._loop.call_later(PARTING_SECONDS, self._task.cancel)

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        enable_keepalive_of(transport)
        if self._header:
            self._transport.write(self._header)
        if self._owner is None:
            close_with_deadline(self._transport)
            return
        if self._listener.upstream_tls is UpstreamTls.TLS:
            self.start_tls()
        else:
            self._owner.upstream_connected()

    def data_received(self, data: bytes) -> None:
        if self._owner is not None:
            self._owner.upstream_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(GONE)

    def pause_writing(self) -> None:
        if self._owner is not None:
            self._owner.upstream_full(is_full=True)

    def resume_writing(self) -> None:
        if self._owner is not None:
            self._owner.upstream_full(is_full=False)

    async def _open(self) -> None:
        try:
            await self._loop.create_connection(lambda: self, self.address.host, self.address.port)
        except OSError as error:
            logger.warning("mail upstream %s: connection failed: %s", self.address, error)
            self._lose(UNREACHABLE)

    def _note_handshake(self, problem: OSError | None) -> None:
        if self._owner is None:
            return  # the owner has closed the connection meanwhile, so the server is not at fault
        if problem is not None:
            name = self._listener.upstream_name or self.address.host
            logger.warning("mail upstream %s: TLS as %s failed: %s", self.address, name, problem)
            self._lose(TLS_FAILED)
        elif self._listener.upstream_tls is UpstreamTls.TLS:
            self._owner.upstream_connected()
        else:
            self._owner.upstream_secured()

    def _lose(self, cause: str) -> None:
        owner, self._owner = self._owner, None
        if self._transport is not None:
            self._transport.abort()
        if owner is not None:
            owner.upstream_lost(cause)
