"""Clients that disconnect while they are not read from: both sides close soon, even if the upstream hangs."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_addon.listeners.connection import CLOSING, ClientConnection
from edge_addon.transport import disconnects, tcp
from edge_addon.transport.tcp import KEEPALIVE_IDLE_SECONDS
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.mail.edge import MAIN_HOST, Peer, Upstream, client_context, mail_edge
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok

POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def stuck(connection: Connection) -> None:
    """Stop reading, like a server whose threads all hang."""
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


async def stuck_behind_upgrade(connection: Connection) -> None:
    await connection.read_head()
    await connection.write(SWITCH)
    await stuck(connection)


async def fill(client: asyncio.StreamWriter, connection: ClientConnection) -> None:
    """Send until the edge stops reading; everything sent has arrived at its socket."""
    loop, since = asyncio.get_running_loop(), connection._plane.disconnects._since
    while loop.time() - since.get(connection, loop.time()) < 0.2:
        if not connection._is_paused:
            client.write(bytes(50_000))
            await client.drain()
        await asyncio.sleep(0.001)


def reset(client: asyncio.StreamWriter) -> None:
    bound = client.get_extra_info("socket")
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


def end(client: asyncio.StreamWriter) -> None:
    """A FIN, without close_notify: the event loop's close would wait for an answer to that."""
    with socket.socket(fileno=os.dup(client.get_extra_info("socket").fileno())) as bound:
        bound.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("go", [reset, end])
@pytest.mark.parametrize("kind", ["request", "tunnel"])
@in_loop
async def test_web_client_that_disconnects_while_its_server_hangs_is_noticed(
    kind: str, go: Callable[[asyncio.StreamWriter], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnects, "GONE_SECONDS", 0.5)
    with Recorder(stuck if kind == "request" else stuck_behind_upgrade) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, client = await edge.connect()
            client.write(POST if kind == "request" else UPGRADE)
            if kind == "tunnel":
                await reader.readuntil(b"\r\n\r\n")
            await wait_for_in_loop(lambda: edge.plane.connections, "the client at the edge")
            await fill(client, next(iter(connections_of(edge.plane))))
            go(client)
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the client's connection", seconds=60)
            server = edge.plane.upstream_pool("main").servers[0]
            await wait_for_in_loop(lambda: server.active == 0, "the end of the upstream's connection")


@in_loop
async def test_web_client_that_has_sent_everything_gets_its_answer_from_a_slow_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its FIN arrives long before the last byte has been read from it."""
    monkeypatch.setattr(disconnects, "GONE_SECONDS", 3)

    async def slow(connection: Connection) -> None:
        await connection.read_until(b"end")
        await connection.write(ok())

    size = 3_000_000
    head = POST.replace(b"100000000", b"%d" % size)
    with Recorder(slow) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(head + bytes(size - 3) + b"end", end=True)).endswith(b"ok")


@in_loop
async def test_client_that_closes_its_side_while_its_answer_is_being_sent_gets_all_of_it(tmp_path: Path) -> None:
    """A closing connection is read from again, so its FIN must not count as that of a paused client."""
    size = 5_000_000
    async with relay_edge(tmp_path, "http://127.0.0.1:1") as edge:
        reader, client = await edge.connect()
        await wait_for_in_loop(lambda: edge.plane.connections, "the client at the edge")
        connection, clients = next(iter(connections_of(edge.plane))), edge.plane.disconnects
        connection.pause_reading()
        clients._since[connection] -= disconnects.GONE_SECONDS
        connection.write(bytes(size))
        connection.close()
        end(client)
        clients._check()
        assert len(await asyncio.wait_for(reader.read(), 60)) == size


@asynccontextmanager
async def mail_tunnel(folder: Path) -> AsyncIterator[tuple[ClientConnection, asyncio.StreamWriter, Upstream]]:
    async def hang(peer: Peer) -> None:
        peer.say(b"* OK here\r\n")
        await peer.line()
        peer.say(b"a OK in\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not peer.writer.transport.is_closing():
            peer.say(b"\0")  # fails as soon as the edge has closed
            await asyncio.sleep(0.05)

    async with Upstream(hang) as upstream, mail_edge(folder, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context(), MAIN_HOST)
        await client.line()
        await client.ask(b"a LOGIN a b\r\n", b"a ")
        connection = next(iter(connections_of(edge.plane)))
        yield connection, client.writer, upstream


@pytest.mark.parametrize("go", [reset, end])
@in_loop
async def test_mail_client_that_disconnects_while_its_server_hangs_is_noticed(
    go: Callable[[asyncio.StreamWriter], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnects, "GONE_SECONDS", 0.5)
    monkeypatch.setattr(tcp, "CLOSE_SECONDS", 0.5)
    async with mail_tunnel(tmp_path) as (connection, client, upstream):
        await fill(client, connection)
        go(client)
        await wait_for_in_loop(lambda: connection._phase is CLOSING, "the end of the client's connection", seconds=60)
        await upstream.done()


@in_loop
async def test_keepalive_is_on_towards_clients_and_upstreams(tmp_path: Path) -> None:
    from certstore.model.settings.models import ListenerSettings
    from edge_addon.listeners.listening import ListeningSockets

    sockets = ListeningSockets()
    sockets.adopt([ListenerSettings.model_validate({"kind": "http", "listen": "127.0.0.1:0"})])
    listener = sockets.listening[0]
    with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert _has_keepalive(accepted)
    sockets.close()
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            await edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", end=True)
            idle = edge.plane.upstream_pool("main").servers[0].idle
            assert _has_keepalive(next(iter(idle)).transport.get_extra_info("socket"))


def _has_keepalive(each: socket.socket) -> bool:
    is_on = each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return bool(is_on) and each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_SECONDS
