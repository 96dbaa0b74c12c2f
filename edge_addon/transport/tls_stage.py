"""TLS as a stage between a socket and a session: bytes in, bytes out, no I/O.

`HelloReader` learns the server name from the ClientHello before any certificate is chosen; `TlsStage` then runs the
handshake and the records on the chosen certificate's own context. OpenSSL does everything that is TLS. Knows nothing
of sites, listeners or sockets.

Why not `sni_callback` on one first context, the usual way: session tickets would belong to that first context, so a
session of one name would resume under another, and a TLS 1.2 resumption tells the callback the old name.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Buffer, Callable
from dataclasses import dataclass

from edge_addon.transport.client_hello import plain_server_name

RECORD_HANDSHAKE = 0x16
"""First byte of every TLS connection (RFC 8446 §5.1)."""

MAXIMUM_HELLO = 32 * 1024
"""Bytes of ClientHello that are waited for; real ones with post-quantum key shares take some 2 KB."""

RECORD = 16 * 1024
"""Plaintext in one TLS record at most (RFC 8446 §5.1): what one read can return."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A complete ClientHello: its bytes, the SNI value as OpenSSL read it, and the alert that would refuse the name."""

    received: bytes
    server_name: str | None
    refusal: bytes


UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
"""The fatal alert as a record of its own (RFC 8446 §6)."""


@dataclass(frozen=True, slots=True)
class NotTls:
    """What came is no ClientHello that OpenSSL takes; `alert` is its answer, perhaps empty."""

    alert: bytes


class HelloContext:
    """The certless context on which ClientHellos are read; one per worker."""

    def __init__(self, minimum_version: ssl.TLSVersion) -> None:
        self.seen: list[str | None] = []
        self.reads_plain = minimum_version <= ssl.TLSVersion.TLSv1_2
        """Which version a plain hello ends in is not known; where 1.2 is too old, OpenSSL has to look."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = minimum_version
        self._context.sni_callback = self._report

    def _report(self, _tls: ssl.SSLObject, server_name: str | None, _context: ssl.SSLContext) -> int:
        self.seen.append(server_name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME  # ends this handshake; the alert is sent only to refuse the name

    def reader(self) -> HelloReader:
        """A reader for one connection."""
        return HelloReader(self)

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """A handshake that ends once the name is known; for `HelloReader`."""
        return self._context.wrap_bio(incoming, outgoing, server_side=True)


def _ignore(_what: object) -> None:
    """The handshake fails with an alert, which is all there is to say."""


class HelloReader:
    """Reads one connection's ClientHello, however it is cut; a byte at a time costs no more than its bytes.

    One of the plainest form is read at once; for any other OpenSSL is asked, over a handshake that is then thrown away.
    """

    _context: HelloContext
    _received: list[bytes]
    _size: int
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _tls: ssl.SSLObject
    __slots__ = tuple(__annotations__)

    def __init__(self, context: HelloContext) -> None:
        self._context = context
        self._received = []
        self._size = 0

    @property
    def is_fresh(self) -> bool:
        """Nothing has been fed yet."""
        return not self._size

    def feed(self, data: bytes) -> Hello | NotTls | None:
        """None while the ClientHello is incomplete. What follows it in `data` is kept in `Hello.received`."""
        if not self._size:
            name = plain_server_name(data) if self._context.reads_plain else None
            if name is not None:
                return Hello(data, name.decode("ascii") or None, UNRECOGNIZED_NAME)
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.begin(self._incoming, self._outgoing)
        self._received.append(data)
        self._size += len(data)
        self._incoming.write(data)
        seen = self._context.seen
        seen.clear()
        # CPython reports a name that is not ASCII to this hook, with a traceback: a client could fill the log so.
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
    """One TLS connection over memory: feed what the peer sent, take what is to be sent.

    `feed`, `handshake`, `read` and `write` raise `ssl.SSLError` when the peer broke the protocol; `output` then holds
    the alert. `handshake` and `read` raise `ssl.SSLWantReadError` when they need more.
    """

    feed: Callable[[Buffer], int]
    handshake: Callable[[], None]
    output: Callable[[], bytes]
    """Every byte that is to be sent now, perhaps none."""
    is_ended: bool
    problem: ssl.SSLError | None
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _tls: ssl.SSLObject
    __slots__ = tuple(__annotations__)

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """The server's side; the client's with a name, which is what the context verifies the server for."""
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
        """All plaintext up to and with `data`, in one piece.

        `is_ended` is true once close_notify has come behind it; `problem` is set, and nothing raised, when the peer
        broke the protocol behind it.
        """
        incoming, read = self._incoming, self._tls.read
        incoming.write(data)
        size = min(len(data), RECORD) or RECORD  # a buffer of a whole record is dear for a short answer
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
        """False when another `read` could only raise SSLWantReadError: spares the exception on nearly every read."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt all of `data` (RFC 8446 §5.2 cuts it in records)."""
        if len(data) <= RECORD:
            if data:
                self._tls.write(data)
            return
        view = memoryview(data)
        sent = 0
        while sent < len(view):
            sent += self._tls.write(view[sent:])

    def close_notify(self) -> None:
        """Queue the closing alert (RFC 8446 §6.1); the peer's own is not waited for."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # wants the peer's close_notify, or the handshake never ended: either way nothing more is to be said
