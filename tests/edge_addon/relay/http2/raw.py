"""An HTTP/2 client that sends exactly the given bytes and records every frame that comes back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from hpack import Decoder, Encoder

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.http2.client import client_context

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x4, 0x8, 0x20
ACK = 0x1
MARKER = b"so far.."

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(6, 10)
ENHANCE_YOUR_CALM = 11


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0, length: int | None = None) -> bytes:
    """Build a frame; `length` replaces its true length."""
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, b"".join(code.to_bytes(2) + value.to_bytes(4) for code, value in pairs))


START = PREFACE + settings()


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """Build a header block that leaves both tables unchanged."""
    return Encoder().encode([(name, value, True) for name, value in fields], huffman=False)


def head(path: bytes = b"/", *more: tuple[bytes, bytes], method: bytes = b"GET", protocol: bytes = b"") -> bytes:
    """Build a good request's header block."""
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", b"edge.test"), (b":path", path)]
    if protocol:
        pseudo.append((b":protocol", protocol))
    return block(*pseudo, *more)


def get(stream: int = 1, path: bytes = b"/") -> bytes:
    return frame(HEADERS, head(path), stream=stream, flags=END_STREAM | END_HEADERS)


def post(stream: int = 1, path: bytes = b"/", *more: tuple[bytes, bytes]) -> bytes:
    """Build a request whose body follows."""
    return frame(HEADERS, head(path, *more, method=b"POST"), stream=stream, flags=END_HEADERS)


def window_update(increment: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, increment.to_bytes(4), stream=stream)


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, code.to_bytes(4), stream=stream)


def ping(data: bytes = MARKER, *, flags: int = 0) -> bytes:
    return frame(PING, data, flags=flags)


@dataclass
class Seen:
    """What has come back so far."""

    goaway: int | None = None
    last_stream: int | None = None
    resets: dict[int, int] = field(default_factory=dict)
    heads: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    pings: int = 0
    is_alive: bool = False
    """The marker's answer has come: the edge has read everything before it."""
    is_closed: bool = False

    def status(self, stream: int) -> int:
        return int(self.heads.get(stream, {}).get(b":status", b"0"))


class RawHttp2:
    """`async with RawHttp2(port) as client`: TLS with ALPN h2; only the test sends."""

    def __init__(self, port: int, server_name: str = "edge.test", *, reads: bool = True) -> None:
        self._port = port
        self._server_name = server_name
        self._reads = reads
        self._decoder = Decoder()
        self._reading: asyncio.Task[None] | None = None
        self.seen = Seen()

    async def __aenter__(self) -> Self:
        context = client_context()
        context.check_hostname = False
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=context, server_hostname=self._server_name, limit=2**20
        )
        if self._reads:
            self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send as fast as the edge reads, until it stops reading."""
        with contextlib.suppress(OSError):
            for start in range(0, len(data), 65536):
                if self.seen.is_closed:
                    return
                self.writer.write(data[start : start + 65536])
                await self.writer.drain()

    async def until_answered(self) -> Seen:
        """Wait until the edge has read everything so far or has ended the connection."""
        await self.send(ping())
        await wait_for_in_loop(lambda: self.seen.is_alive or self.seen.is_closed, f"an answer: {self.seen}")
        return self.seen

    async def until_closed(self) -> Seen:
        await wait_for_in_loop(lambda: self.seen.is_closed, f"the end of the connection: {self.seen}")
        return self.seen

    async def until_ended(self, stream: int) -> Seen:
        """Wait for the end of a stream or of the connection."""
        seen = self.seen
        await wait_for_in_loop(
            lambda: stream in seen.ended or stream in seen.resets or seen.is_closed, f"the end of {stream}: {seen}"
        )
        return seen

    async def _read(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                start = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(start[:3]))
                self._note(start[3], start[4], int.from_bytes(start[5:]), payload)
        self.seen.is_closed = True

    def _note(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        seen = self.seen
        if kind == GOAWAY:
            seen.last_stream, seen.goaway = int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])
        elif kind == RST_STREAM:
            seen.resets[stream] = int.from_bytes(payload)
        elif kind == PING and flags & ACK:
            seen.pings += 1
            seen.is_alive = seen.is_alive or payload == MARKER
        elif kind == HEADERS:
            seen.heads.setdefault(stream, dict(self._decoder.decode(payload, raw=True)))
        elif kind == DATA:
            seen.bodies[stream] = seen.bodies.get(stream, b"") + payload
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            seen.ended.add(stream)
