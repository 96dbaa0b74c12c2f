"""A TLS server that does exactly what the test says, directly on OpenSSL, without an event loop.

    with TlsServer(context, handler) as server:
        … server.port … server.connections

`handler` gets a `TlsConnection` in a separate thread and decides when bytes and closing alerts leave, because real
servers end their connections in every possible way.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.ports import listening_socket

SECONDS = 20.0


class TlsConnection:
    """Server side of one connection, over blocking sockets."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = plain
        plain.settimeout(SECONDS)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def read_line_in_clear(self) -> bytes:
        """The bytes before TLS; the ClientHello may be in the same segment."""
        data = b""
        while b"\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError
            data += more
        line, end, rest = data.partition(b"\n")
        self._incoming.write(rest)
        return line + end

    def handshake(self) -> None:
        self._run(self.tls.do_handshake)

    def read(self, size: int = 65536) -> bytes:
        """b"" after the client's closing alert; raises EOFError if it ended without one."""
        data: bytes = self._run(lambda: self.tls.read(size))
        return data

    def read_head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.read()
            if not data:
                raise EOFError
            head += data
        return head

    def encrypt(self, data: bytes, *, close: bool = False) -> bytes:
        """Records that hold `data`, optionally followed by the closing alert."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        if close:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
        return self._outgoing.read()

    def send(self, data: bytes, *, close: bool = False) -> None:
        self.socket.sendall(self.encrypt(data, close=close))

    def finish(self) -> None:
        """Send FIN, then wait until the client ends."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass

    def _run[T](self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError from None
                self._incoming.write(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.socket.sendall(data)


class TlsServer:
    """`handler` plays every connection, including its handshake."""

    def __init__(self, context: ssl.SSLContext, handler: Callable[[TlsConnection], None]) -> None:
        self._context = context
        self._handler = handler
        self._listener = listening_socket()
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[TlsConnection] = []
        self.faults: list[BaseException] = []
        """What peers did: refused handshakes, ends without a closing alert."""
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(SECONDS)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
                # As web servers do: a small answer that waited for an acknowledgement could be lost in a reset.
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                return
            connection = TlsConnection(plain, self._context)
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: TlsConnection) -> None:
        with connection.socket:
            try:
                self._handler(connection)
            except (OSError, EOFError) as fault:
                self.faults.append(fault)
