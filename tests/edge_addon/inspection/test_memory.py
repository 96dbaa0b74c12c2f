"""A worker that inspects holds no bodies, no flows and no messages: its memory stays where it is."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import psutil
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.certificates import CertificateAuthority
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder
from tests.running import RunningEdge, Site, running_edge

CA = CertificateAuthority()
MEGABYTE = 1_000_000
PIECE = b"x" * 100_000


def inspecting(folder: Path, upstream: str) -> tuple[Path, dict[str, object], dict[str, Site]]:
    settings: dict[str, object] = {"listeners": [{"kind": "https"}], "upstream": upstream}
    return folder, settings, {"a.test": Site(CA.issue("a.test"), {"inspect": True})}


def resident(edge: RunningEdge) -> int:
    (worker,) = edge.worker_pids()
    return int(psutil.Process(worker).memory_info().rss)


def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.root_pem.decode())


async def echo_in_bulk(connection: Connection) -> None:
    """Take a body, answer with as large a one; nothing of it is recorded."""
    while True:
        head = await connection.read_head()
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        left = size
        while left:
            left -= len(await connection.read())
            connection.received.clear()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(PIECE)):
            await connection.write(PIECE)


def exchange(edge: RunningEdge, size: int) -> None:
    """With a blocking client: uvloop's drops what it has not handed on when the other side ends its TLS."""
    with (
        socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as plain,
        trust().wrap_socket(plain, server_hostname="a.test") as secure,
    ):
        head = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        secure.sendall(head % size)
        for _ in range(size // len(PIECE)):
            secure.sendall(PIECE)
        received = 0
        while data := secure.recv(1 << 16):
            received += len(data)
    assert received > size


def test_large_bodies_and_many_requests_leave_nothing_behind(tmp_path: Path) -> None:
    with Recorder(echo_in_bulk) as recorder, running_edge(*inspecting(tmp_path, recorder.url)) as edge:
        for _ in range(20):
            exchange(edge, 1 * MEGABYTE)
        before = resident(edge)
        exchange(edge, 100 * MEGABYTE)
        for _ in range(200):
            exchange(edge, len(PIECE))
        assert resident(edge) - before < 20 * MEGABYTE


@in_loop
async def test_a_long_websocket_leaves_nothing_behind(tmp_path: Path) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    started, url, stop = threading.Event(), list[str](), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serving() -> None:
        async with serve(echo, "127.0.0.1", 0, compression=None) as server:
            url.append(f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serving(),))
    thread.start()
    assert started.wait(20)
    try:
        with running_edge(*inspecting(tmp_path, url[0])) as edge:
            address = f"wss://a.test:{edge.port('https')}/"
            async with connect(address, host="127.0.0.1", ssl=trust(), compression=None) as client:

                async def talk(times: int) -> None:
                    for _ in range(times):
                        await client.send(b"y" * 20_000)
                        await client.recv()

                await talk(100)
                before = resident(edge)
                await talk(2000)  # 80 MB of messages, there and back
                assert resident(edge) - before < 15 * MEGABYTE
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
