"""Five hundred hostile connections of one address, in a process of their own.

Each connection misbehaves in one way, slowly enough that this process needs little of the machine: what others then
notice comes from the edge. A connection that the edge ends is opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, Final

from tests.edge_addon.relay.http2.raw import DATA as DATA_FRAME
from tests.edge_addon.relay.http2.raw import END_HEADERS, HEADERS, START, frame, get, head, ping, post, reset

ADDRESS: Final = "127.0.0.66"
CONNECTIONS: Final = 500
PACE: Final = 1.0
"""Seconds between two pieces of a connection that drips."""
BLANKS: Final = b"a NOOP" + b" " * 4000

Writer = asyncio.StreamWriter
Misdeed = Callable[["Ground", asyncio.StreamReader, Writer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where it happens."""

    https: int
    imap: int | None
    """None: no mail."""


async def drip(writer: Writer, pieces: bytes) -> None:
    for piece in itertools.cycle(pieces):
        writer.write(bytes((piece,)))
        await writer.drain()
        await asyncio.sleep(PACE)


async def drip_a_head(_: Ground, __: asyncio.StreamReader, writer: Writer) -> None:
    writer.write(b"GET /" + b"x" * 20_000)
    await drip(writer, b"x")


async def drip_chunks(_: Ground, __: asyncio.StreamReader, writer: Writer) -> None:
    writer.write(b"POST /slow HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1;" + b"e" * 100 + b"\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(PACE)


async def begin_logins(_: Ground, reader: asyncio.StreamReader, writer: Writer) -> None:
    """Take an upstream connection for a login that never ends."""
    while True:
        writer.write(b"GET /ews HTTP/1.1\r\nHost: edge.test\r\nAuthorization: NTLM TYPE1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(PACE)


async def stay_idle(_: Ground, reader: asyncio.StreamReader, writer: Writer) -> None:
    writer.write(b"GET /public HTTP/1.1\r\nHost: edge.test\r\n\r\n")
    await reader.read()


async def read_nothing(_: Ground, __: asyncio.StreamReader, writer: Writer) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /large HTTP/1.1\r\nHost: edge.test\r\n\r\n" * 20)
    await asyncio.sleep(3600)


async def open_streams(_: Ground, reader: asyncio.StreamReader, writer: Writer) -> None:
    """A hundred requests that are never answered, then another hundred in their place."""
    writer.write(START)
    for first in itertools.count(1, 200):
        writer.write(b"".join(get(stream, b"/slow") for stream in range(first, first + 200, 2)))
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10 * PACE):
                while await reader.read(1 << 20):
                    pass
                return
        writer.write(b"".join(reset(stream) for stream in range(first, first + 200, 2)))


async def send_early(_: Ground, reader: asyncio.StreamReader, writer: Writer) -> None:
    """Data for WebSockets that no upstream has agreed to."""
    writer.write(START)
    block = head(b"/slow", method=b"CONNECT", protocol=b"websocket")
    for stream in range(1, 40, 2):
        writer.write(frame(HEADERS, block, stream=stream, flags=END_HEADERS))
        writer.write(frame(DATA_FRAME, bytes(16_000), stream=stream))
    while await reader.read(1 << 16):
        pass


async def upload_slowly(_: Ground, __: asyncio.StreamReader, writer: Writer) -> None:
    writer.write(START + post(1, b"/slow"))
    while True:
        writer.write(frame(DATA_FRAME, b"x", stream=1) + ping())
        await writer.drain()
        await asyncio.sleep(PACE)


async def send_blanks(_: Ground, __: asyncio.StreamReader, writer: Writer) -> None:
    while True:
        writer.write(BLANKS + b"\r\n")
        await writer.drain()
        await asyncio.sleep(5 * PACE)


HTTP1: Final[tuple[Misdeed, ...]] = (drip_a_head, drip_chunks, begin_logins, stay_idle, read_nothing)
HTTP2: Final[tuple[Misdeed, ...]] = (open_streams, send_early, upload_slowly)


def context(alpn: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols([alpn])
    return made


class Attack:
    """All connections, from `start` to `stop`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._contexts = {"h2": context("h2"), "http/1.1": context("http/1.1")}
        self._tasks: list[asyncio.Task[None]] = []
        self.open = 0

    def start(self) -> None:
        deeds = [*((each, "http/1.1") for each in HTTP1), *((each, "h2") for each in HTTP2)]
        if self._ground.imap is not None:
            deeds.append((send_blanks, ""))
        self._tasks = [
            asyncio.create_task(self._repeat(*deed)) for deed in itertools.islice(itertools.cycle(deeds), CONNECTIONS)
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, deed: Misdeed, alpn: str) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                await self._do(deed, alpn)
            await asyncio.sleep(PACE)

    async def _do(self, deed: Misdeed, alpn: str) -> None:
        port = self._ground.https if alpn else self._ground.imap
        name = "a.test" if deed is drip_chunks else "edge.test"
        tls: dict[str, Any] = {"ssl": self._contexts[alpn], "server_hostname": name} if alpn else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ADDRESS, 0), **tls)
        self.open += 1
        try:
            await deed(self._ground, reader, writer)
        finally:
            self.open -= 1
            writer.transport.abort()


def run(ground: Ground, wanted: Event, under_way: Event, over: Event) -> None:
    """Attack while `wanted` is set; `under_way` tells that most connections are open. Ends with `over`."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of every write to a connection that has ended
    asyncio.run(_run(ground, wanted, under_way, over))


async def _run(ground: Ground, wanted: Event, under_way: Event, over: Event) -> None:
    while not over.is_set():
        if not wanted.is_set():
            await asyncio.sleep(0.1)
            continue
        attack = Attack(ground)
        attack.start()
        while wanted.is_set() and not over.is_set():
            if attack.open > CONNECTIONS * 0.8:
                under_way.set()
            await asyncio.sleep(0.1)
        await attack.stop()
        under_way.clear()
