"""The clients of a soak: each loops over one kind of traffic until the end, and counts answers and losses.

A loss is excused if the worker that served the connection was killed; the soak records the local ports concerned.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from tests.soak.upstream import LARGE

SECONDS = 60.0
"""How long an exchange may take before it counts as lost; generous, because the machine may be busy."""


@dataclass
class Ground:
    """What all clients share."""

    https: int
    imaps: int
    trust: ssl.SSLContext
    trust_h2: ssl.SSLContext
    sites: tuple[str, ...]
    imap_login: bytes
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    doomed_ports: set[int] = field(default_factory=set)
    """Local ports of connections whose worker was killed."""
    done: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Connection:
    """A TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, visit: Visit, name: str, port: int, *, trust: ssl.SSLContext | None = None) -> Connection:
        """Connect and shake hands; the visit knows the connection from the start, so that its loss can be assigned."""
        plain = socket.socket()
        plain.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
            visit.ports.add(plain.getsockname()[1])
            reader, writer = await asyncio.open_connection(
                sock=plain, ssl=trust or visit.ground.trust, server_hostname=name, limit=1 << 20
            )
        except BaseException:
            plain.close()
            raise
        connection = cls(reader, writer)
        visit.connections.append(connection)
        return connection

    def abort(self) -> None:
        self.writer.transport.abort()


@dataclass
class Visit:
    """One turn of one client."""

    ground: Ground
    number: int
    ports: set[int] = field(default_factory=set)
    """Local ports of its connections."""
    connections: list[Connection] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The site that it goes to."""
        return self.ground.sites[self.number % len(self.ground.sites)]


async def keep_going(ground: Ground, kind: str, go: Callable[[Visit], Awaitable[None]]) -> None:
    """Visit again and again; a failure is excused or not by the connections of the visit."""
    number = 0
    while not ground.stopping.is_set():
        number += 1
        visit = Visit(ground, number)
        try:
            async with asyncio.timeout(SECONDS):
                await go(visit)
            ground.done[kind] += 1
        except (OSError, EOFError, TimeoutError, AssertionError, ValueError) as error:
            await asyncio.sleep(0.2)  # the kill is recorded when it happens
            is_excused = not visit.ports.isdisjoint(ground.doomed_ports)
            (ground.excused if is_excused else ground.lost)[kind] += 1
            if not is_excused:
                ground.faults.append(f"{time.strftime('%X')} {kind} {number}: {type(error).__name__}: {error}")
        finally:
            for each in visit.connections:
                each.abort()


async def http1(visit: Visit) -> None:
    """Fifty requests on one connection."""
    connection = await Connection.open(visit, visit.name, visit.ground.https)
    for index in range(50):
        target = b"/%d/%d" % (visit.number, index)
        assert await fetch(connection, visit.name, target) == target
        visit.ground.done["http1 request"] += 1
        if connection.reader.at_eof():
            return


async def fetch(connection: Connection, name: str, target: bytes, body: bytes | None = None) -> bytes:
    """Send one request, return the body; raises for anything but a complete 200."""
    method = b"GET" if body is None else b"POST"
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    connection.writer.write(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, name.encode(), length))
    if body is not None:
        connection.writer.write(body)
        await connection.writer.drain()
    head = await connection.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head[:60]
    size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    data = await connection.reader.readexactly(size)
    if b"connection: close" in head.lower():
        connection.reader.feed_eof()
    return data


async def large(visit: Visit) -> None:
    """A large answer and a large upload, both compared."""
    for body in (None, LARGE[: len(LARGE) // 2]):
        connection = await Connection.open(visit, visit.name, visit.ground.https)
        answer = await fetch(connection, visit.name, b"/large", body)
        assert answer == (LARGE if body is None else hashlib.sha256(body).hexdigest().encode())


async def aborted(visit: Visit) -> None:
    """Clients that leave in the middle: they expect nothing, and must leave nothing behind."""
    connection = await Connection.open(visit, visit.name, visit.ground.https)
    get = b"GET /large HTTP/1.1\r\nHost: %b\r\n\r\n" % visit.name.encode()
    post = b"POST /x HTTP/1.1\r\nHost: %b\r\nContent-Length: 1000000\r\n\r\nhalf" % visit.name.encode()
    connection.writer.write((get, post, post[:20])[visit.number % 3])
    if visit.number % 3 == 0:
        await connection.reader.read(1000)


async def websocket(visit: Visit) -> None:
    """A tunnel that echoes for about twenty seconds."""
    connection = await Connection.open(visit, visit.name, visit.ground.https)
    connection.writer.write(
        b"GET /ws HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % visit.name.encode()
    )
    assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    for index in range(100):
        if visit.ground.stopping.is_set():
            return
        message = b"%d-%d;" % (visit.number, index)
        connection.writer.write(message)
        assert await connection.reader.readexactly(len(message)) == message
        await asyncio.sleep(0.2)


async def http2(visit: Visit) -> None:
    """A hundred requests on one connection, ten at a time."""
    ground = visit.ground
    connection = await Connection.open(visit, visit.name, ground.https, trust=ground.trust_h2)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    bodies: dict[int, bytearray] = {}
    ended: set[int] = set()
    targets: dict[int, bytes] = {}
    while len(ended) < 100:
        while len(targets) < 100 and len(targets) - len(ended) < 10:
            stream_id = client.get_next_available_stream_id()
            targets[stream_id] = b"/h2/%d/%d" % (visit.number, stream_id)
            bodies[stream_id] = bytearray()
            pseudo = {":method": "GET", ":scheme": "https", ":authority": visit.name}
            pseudo[":path"] = targets[stream_id].decode()
            client.send_headers(stream_id, list(pseudo.items()), end_stream=True)
        connection.writer.write(client.data_to_send())
        data = await connection.reader.read(65536)
        if not data:
            raise EOFError
        for event in client.receive_data(data):
            match event:
                case h2.events.DataReceived():
                    assert event.stream_id is not None
                    bodies[event.stream_id] += event.data or b""
                    client.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                case h2.events.StreamEnded():
                    assert event.stream_id is not None
                    assert bodies[event.stream_id] == targets[event.stream_id], bytes(bodies[event.stream_id][:100])
                    ended.add(event.stream_id)
                    ground.done["http2 request"] += 1
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise EOFError(str(event))


async def imap_idle(visit: Visit) -> None:
    """Log in and idle for about twenty seconds."""
    connection = await Connection.open(visit, "edge.test", visit.ground.imaps)
    await connection.reader.readline()
    connection.writer.write(b"a LOGIN " + visit.ground.imap_login + b"\r\nb SELECT INBOX\r\nc IDLE\r\n")
    while not (line := await connection.reader.readline()).startswith(b"+"):
        assert line, "the connection ended"
        assert not line.startswith((b"a NO", b"a BAD", b"b NO", b"c BAD")), line
    for _ in range(100):
        if visit.ground.stopping.is_set():
            break
        await asyncio.sleep(0.2)
        assert not connection.reader.at_eof(), "the connection ended while idle"
    connection.writer.write(b"DONE\r\nd LOGOUT\r\n")
    assert b"d OK" in await connection.reader.read(-1)


VISITS = {
    "http1": (http1, 4),
    "http2": (http2, 3),
    "websocket": (websocket, 10),
    "imap idle": (imap_idle, 10),
    "large": (large, 1),
    "aborted": (aborted, 2),
}
"""Each kind of client, and how many run at once."""
