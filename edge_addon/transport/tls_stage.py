"""TLS between a socket and a session: bytes in, bytes out, no I/O. Knows nothing of sites, listeners or sockets.

`HelloReader` reads the server name from the ClientHello before a certificate is selected; `TlsStage` then runs the
handshake and the records on the context of that certificate. OpenSSL implements all of TLS.

The usual way, an `sni_callback` on one first context, is not safe here: session tickets would belong to that context,
so a session of one name would resume under another, and a TLS 1.2 resumption passes the old name to the callback.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Buffer, Callable
from dataclasses import KW_ONLY, dataclass, field

from certstore.net.tls_server import RECORD
from edge_addon.transport.client_hello import plain_server_name

RECORD_HANDSHAKE = 0x16
"""First byte of every TLS connection (RFC 8446 §5.1)."""

MAXIMUM_HELLO = 32 * 1024
"""Bytes of the longest ClientHello accepted; real ones with post-quantum key shares have about 2 KB."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A complete ClientHello: its bytes, the SNI value as OpenSSL reads it, and the alert that refuses the name."""

    received: bytes
    server_name: str | None
    refusal: bytes


INTERNAL_ERROR = b"\x15\x03\x03\x00\x02\x02\x50"
UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
"""Fatal alerts as complete records (RFC 8446 §6)."""


@dataclass(frozen=True, slots=True)
class NotTls:
    """OpenSSL does not accept the bytes as a ClientHello; `alert` is its answer, perhaps empty."""

    alert: bytes


class HelloContext:
    """The context without a certificate on which ClientHellos are read; one per worker."""

    def __init__(self, minimum_version: ssl.TLSVersion) -> None:
        self.seen: list[str | None] = []
        self.reads_plain = minimum_version <= ssl.TLSVersion.TLSv1_2
        """`client_hello` does not see which version the client supports; where 1.2 is too old, OpenSSL must read it."""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = minimum_version
        self.tls.sni_callback = self._report

    def _report(self, _tls: ssl.SSLObject, server_name: str | None, _context: ssl.SSLContext) -> int:
        self.seen.append(server_name)
        # Ends this handshake; the alert is sent only when the name is refused.
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def _ignore(_what: object) -> None:
    """Report nothing: the handshake fails with an alert anyway."""


@dataclass(slots=True, eq=False, repr=False)
class HelloReader:
    """Reads one connection's ClientHello, in pieces of any size; tiny pieces cost no more than their bytes.

    `client_hello` reads an ordinary one. For any other, OpenSSL starts a handshake that is then thrown away.
    """

    _context: HelloContext
    _: KW_ONLY
    _received: list[bytes] = field(default_factory=list)
    _size: int = 0
    _incoming: ssl.MemoryBIO = field(init=False)
    _outgoing: ssl.MemoryBIO = field(init=False)
    _tls: ssl.SSLObject = field(init=False)

    @property
    def is_fresh(self) -> bool:
        """Nothing has been fed yet."""
        return not self._size

    def feed(self, data: bytes) -> Hello | NotTls | None:
        """None while the ClientHello is incomplete. `Hello.received` includes what follows it in `data`."""
        if not self._size:
            name = plain_server_name(data) if self._context.reads_plain else None
            if name is not None:
                return Hello(data, name.decode("ascii") or None, UNRECOGNIZED_NAME)
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._received.append(data)
        self._size += len(data)
        self._incoming.write(data)
        seen = self._context.seen
        seen.clear()
        # CPython reports a name that is not ASCII to this hook with a traceback, so a client could fill the log.
        hook, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return NotTls(b"") if self._size > MAXIMUM_HELLO else None
        except ssl.SSLError:
            pass
        finally:
            sys.unraisablehook = hook
        alert = self._outgoing.read()
        return Hello(b"".join(self._received), seen[0], alert) if seen else NotTls(alert)


class TlsStage:
    """One TLS connection over memory: feed what the peer sent, take what must be sent.

    `feed`, `handshake`, `read` and `write` raise `ssl.SSLError` when the peer violates the protocol; `output` then
    returns the alert. `handshake` and `read` raise `ssl.SSLWantReadError` when they need more data.
    """

    feed: Callable[[Buffer], int]
    handshake: Callable[[], None]
    output: Callable[[], bytes]
    """All bytes that must be sent now, perhaps none."""
    is_ended: bool
    problem: ssl.SSLError | None
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _tls: ssl.SSLObject
    __slots__ = tuple(__annotations__)

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """The server's side; with `server_name` the client's, which verifies that the server has this name."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self.feed = self._incoming.write
        self.handshake = self._tls.do_handshake
        self.output = self._outgoing.read
        self.is_ended = False
        self.problem = None

    @property
    def version(self) -> str | None:
        """`TLSv1.2` or `TLSv1.3`, None before the handshake."""
        return self._tls.version()

    @property
    def alpn(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    def read(self) -> bytes:
        """The plaintext of one record; b"" once the peer has closed with close_notify."""
        return self._tls.read(RECORD)

    def receive(self, data: bytes) -> bytes:
        """All plaintext up to the end of `data`, in one piece.

        `is_ended` becomes true when close_notify follows it. When the peer violates the protocol behind it, `problem`
        is set and nothing is raised.
        """
        incoming, read = self._incoming, self._tls.read
        incoming.write(data)
        size = min(len(data), RECORD) or RECORD  # a buffer for a whole record is expensive for a short answer
        whole = b""
        rest: list[bytes] = []
        try:
            while True:
                part = read(size)
                if not part:
                    self.is_ended = True
                    break
                if whole:
                    rest.append(part)
                else:
                    whole = part
                if len(part) < size and not incoming.pending:
                    break
                size = RECORD
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.problem = error
        return b"".join((whole, *rest)) if rest else whole

    @property
    def has_output(self) -> bool:
        return self._outgoing.pending > 0

    @property
    def may_have_more(self) -> bool:
        """False when another `read` would only raise SSLWantReadError; avoids that exception on nearly every read."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt all of `data`, in as many records as it takes."""
        if len(data) <= RECORD:
            if data:
                self._tls.write(data)
            return
        view = memoryview(data)
        sent = 0
        while sent < len(view):
            sent += self._tls.write(view[sent:])

    def close_notify(self) -> None:
        """Queue close_notify (RFC 8446 §6.1), without waiting for the peer's."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's close_notify is missing, or the handshake is incomplete: there is nothing more to send
