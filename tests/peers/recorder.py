"""A raw upstream on loopback: records every byte that reaches it and answers exactly what the test says.

    with Recorder(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as recorder:
        … recorder.port … recorder.received … recorder.connections[0].received

It runs in a separate thread, so it serves both tests in a loop and tests of a child process. It knows nothing of HTTP
except where a head ends; the test checks what was received.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class Connection:
    """One connection as the upstream sees it. `received` grows as bytes arrive, whether or not a handler reads them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received = bytearray()
        self.is_over = False
        """Whether the other side has ended or broken it."""
        self._unread = bytearray()
        self._reader = reader
        self.writer = writer

    async def read(self, size: int = 65536) -> bytes:
        """At least one byte; none if the other side has ended."""
        if not self._unread:
            await self._receive()
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    async def read_until(self, end: bytes) -> bytes:
        """Up to and including `end`; raises EOFError if it does not arrive."""
        looked_at = 0
        while (found := self._unread.find(end, looked_at)) < 0:
            looked_at = max(0, len(self._unread) - len(end))
            if not await self._receive():
                raise EOFError
        data = bytes(self._unread[: found + len(end)])
        del self._unread[: found + len(end)]
        return data

    def unread(self, data: bytes) -> None:
        """Let the next read see this again."""
        self._unread[:0] = data

    async def read_head(self) -> bytes:
        return await self.read_until(b"\r\n\r\n")

    async def read_to_end(self) -> None:
        while await self.read():
            pass

    async def _receive(self) -> bool:
        try:
            data = await self._reader.read(65536)
        except OSError:
            data = b""
        self.received += data
        self._unread += data
        self.is_over = not data
        return bool(data)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    def finish(self) -> None:
        """FIN."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        if self.writer.is_closing():
            return
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Connection], Awaitable[None]]


class Recorder:
    """`handler` runs for each connection; after it returns, the rest is recorded until the other side ends."""

    def __init__(
        self, handler: Handler, *, unix: Path | None = None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.connections: list[Connection] = []
        self._handler = handler
        self._unix = unix
        self._host = host
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        """The upstream for edge.yaml."""
        if self._unix is not None:
            return f"unix:{self._unix}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def received(self) -> bytes:
        """Everything received, over all connections in the order in which they were accepted."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    def say(self, position: int, data: bytes) -> None:
        """Send on a connection while its handler does not."""
        writer = self.connections[position].writer
        self._loop.call_soon_threadsafe(writer.write, data)

    def drop(self, position: int) -> None:
        """End a connection while its handler waits."""
        self._loop.call_soon_threadsafe(self.connections[position].finish)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_listening.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        if self._unix is not None:
            server = await asyncio.start_unix_server(self._accept, str(self._unix))
        else:
            server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
            self.port = server.sockets[0].getsockname()[1]
        self._is_listening.set()
        await self._stop.wait()
        server.close()
        for connection in self.connections:
            connection.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.append(connection)
        with contextlib.suppress(EOFError, OSError, asyncio.CancelledError):
            await self._handler(connection)
            await connection.read_to_end()
        writer.close()


def answering(*responses: bytes, close: bool = False) -> Handler:
    """Answer each head on a connection with the next of these; the last one is repeated.

    For requests without a body. With `close`, the connection is closed after the first answer.
    """

    async def handle(connection: Connection) -> None:
        position = 0
        while True:
            await connection.read_head()
            await connection.write(responses[min(position, len(responses) - 1)])
            position += 1
            if close:
                connection.finish()
                return

    return handle


async def silent(connection: Connection) -> None:
    """Read everything, answer nothing."""
    await connection.read_to_end()


def ok(body: bytes = b"ok", *fields: bytes) -> bytes:
    """A plain 200 response."""
    return b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields, b"", body))
