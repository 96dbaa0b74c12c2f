"""The web server behind the edge: small and large answers, uploads, an echo; its restarts lose no answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time

IDLE_SECONDS = 0.05

LARGE = bytes(range(256)) * 4096 * 8
"""8 MB."""


class Upstream:
    """Keeps its listening socket across restarts, as a well-run server does; idle connections just end."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._idle: dict[asyncio.StreamWriter, float] = {}
        """Idle connections, and since when."""
        self.restarts = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener.dup())

    async def restart(self) -> None:
        """Close the server and every idle connection; the edge must notice."""
        assert self._server is not None
        self._server.close()
        # A new connection may carry a request that nobody has read yet; losing that would be this server's fault.
        before = time.monotonic() - IDLE_SECONDS
        for writer in [writer for writer, since in self._idle.items() if since < before]:
            writer.transport.abort()
        await self.start()
        self.restarts += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):  # cancelled: the soak is over
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.pop(writer, None)
                await self._answer(head, reader, writer)
                self._idle[writer] = time.monotonic()
        self._idle.pop(writer, None)
        writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
        }
        if b"upgrade" in fields:
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            )
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            raise EOFError
        if method == b"POST":
            digest = hashlib.sha256()
            left = int(fields[b"content-length"])
            while left:
                data = await reader.read(min(left, 65536))
                if not data:
                    raise EOFError
                digest.update(data)
                left -= len(data)
            body = digest.hexdigest().encode()
        else:
            body = LARGE if target.startswith(b"/large") else target
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()
