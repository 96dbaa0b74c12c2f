"""TLS towards a server: a transport over a transport, with a `TlsStage` between them.

The event loop's own TLS (`ssl=`) is not reliable enough: when a close_notify arrives under back-pressure, uvloop drops
the data that it still holds, and it distinguishes a truncated connection from a closed one only by chance. Here all
decrypted data is delivered before the end, and an end without close_notify is a `ConnectionResetError` (RFC 9112
§9.8). Certificates are always verified. Knows nothing of the protocol inside.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, cast

from certstore.net.tls_client import verifying_context
from edge_addon.transport.tcp import close_with_deadline, unread_data
from edge_addon.transport.tls_stage import TlsStage

_NO_PROTOCOL = asyncio.Protocol()
"""The protocol of a closed transport: its real one refers to it, and it must not refer back."""


def upstream_context(ca_file: Path | None) -> ssl.SSLContext:
    """A verifying context for upstream servers. Raises OSError (such as ssl.SSLError) for an unusable file."""
    context = verifying_context(ca_file)
    # A server that asks for a new handshake in TLS 1.2 gets a no_renegotiation warning (RFC 5246 §7.2.2).
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


@dataclass(slots=True, eq=False, repr=False)
class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The protocol of the connection below, and the transport of the protocol above.

    `on_handshake` is called once, with None or the error. The owner may then call the upper protocol's
    `connection_made`. All later events reach that protocol from here; none does when the handshake fails.
    """

    _upper: asyncio.Protocol
    _context: ssl.SSLContext
    _server_name: str
    """A host name, which is sent as SNI, or an IP address; the certificate must match it."""
    _on_handshake: Callable[[OSError | None], None] | None
    _: KW_ONLY
    _lower: asyncio.Transport = field(init=False)
    _stage: TlsStage = field(init=False)
    _truncation: OSError | None = None
    """The server closed the connection without close_notify."""
    _is_open: bool = False
    _is_closing: bool = False

    def __post_init__(self) -> None:
        self._stage = TlsStage(self._context, self._server_name)

    # The connection below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lower = cast(asyncio.Transport, transport)
        self._do_handshake()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        if not self._is_open:
            self._stage.feed(data)
            if not self._do_handshake():
                return
            data = b""
        self._receive(data)

    def eof_received(self) -> bool:
        if not self._stage.is_ended:
            self._truncation = ConnectionResetError("the server closed the connection without close_notify")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            for data in unread_data(self._lower):
                self.data_received(data)
        problem = self._stage.problem or self._truncation or exc
        self._is_closing = True
        upper, self._upper = self._upper, _NO_PROTOCOL
        if self._is_open:
            upper.connection_lost(problem)
        else:
            self._finish_handshake(
                problem if isinstance(problem, OSError) else ConnectionResetError("the server closed the connection")
            )

    def pause_writing(self) -> None:
        if self._is_open:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self._is_open:
            self._upper.resume_writing()

    # The protocol above.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or not self._is_open:
            return
        self._stage.write(data)
        self._lower.write(self._stage.output())

    def close(self) -> None:
        """Send close_notify behind everything that was written, then close."""
        if self._is_closing:
            return
        self._is_closing = True
        self._stage.close_notify()
        self._flush()
        self._lower.close()

    def abort(self) -> None:
        self._is_closing = True
        self._lower.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._lower.is_closing()

    def can_write_eof(self) -> bool:
        """TLS 1.2 has no half-closed connections, and TLS 1.3 servers treat them as closed."""
        return False

    def get_write_buffer_size(self) -> int:
        return self._lower.get_write_buffer_size()

    def pause_reading(self) -> None:
        # What has been read is decrypted and delivered immediately: nothing is buffered here.
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        self._lower.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._context if name == "sslcontext" else self._lower.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._upper = cast(asyncio.Protocol, protocol)

    # TLS.

    def _do_handshake(self) -> bool:
        """Whether the handshake is complete and the server's certificate is valid."""
        try:
            self._stage.handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()
            self._finish_handshake(error)
            close_with_deadline(self._lower)
            return False
        self._flush()
        self._is_open = True
        self._finish_handshake(None)
        return True

    def _finish_handshake(self, problem: OSError | None) -> None:
        callback, self._on_handshake = self._on_handshake, None
        self._is_closing = self._is_closing or problem is not None
        if callback is not None:
            callback(problem)

    def _receive(self, data: bytes) -> None:
        """Deliver everything that can be decrypted in one piece, then the end if it has come."""
        stage = self._stage
        plain = stage.receive(data)
        if stage.has_output:  # an alert, or the answer to a KeyUpdate
            self._flush()
        if plain and not self._is_closing:
            # Data before a broken record is valid, but nothing can be sent any longer.
            self._is_closing = stage.problem is not None
            self._upper.data_received(plain)
        if stage.problem is not None:
            self._is_closing = True
            close_with_deadline(self._lower)
        elif stage.is_ended and not self._is_closing and not self._upper.eof_received():
            close_with_deadline(self)

    def _flush(self) -> None:
        if data := self._stage.output():
            self._lower.write(data)
