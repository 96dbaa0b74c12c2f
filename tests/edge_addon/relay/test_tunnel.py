"""WebSocket through the edge, with a real client and server, and what an upgrade may not become."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from edge_addon.relay import http1, tunnel
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.clients import peer_ports
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.relay.edge import CA, MAIN_HOST, assert_slow_reader_slows_upstream, relay_edge, stands_still
from tests.loops import in_loop
from tests.peers.recorder import Connection, Handler, Recorder, answering, ok, silent

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Kept: 1\r\n"
    + ACCEPT
    + b"\r\n\r\n"
)


@asynccontextmanager
async def echo_server(tls: ssl.SSLContext | None = None, *, compression: str | None = None) -> AsyncIterator[str]:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=tls, max_size=None, compression=compression) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'https' if tls else 'http'}://localhost:{port}"


@pytest.mark.parametrize("kind", ["http", "https"])
@in_loop
async def test_websocket_passes_with_messages_of_any_size_and_its_orderly_end(kind: str, tmp_path: Path) -> None:
    async with echo_server() as upstream, relay_edge(tmp_path, upstream, kind=kind) as edge:
        scheme, tls = "ws", None
        if kind == "https":
            scheme, tls = "wss", ssl.create_default_context(cadata=CA.root_pem.decode())
        async with connect(
            f"{scheme}://{MAIN_HOST}:{edge.port}/", host="127.0.0.1", ssl=tls, max_size=None, compression=None
        ) as client:
            for message in ("hello", b"\x00\xff", "x" * 5_000_000):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4001, "done")
            assert client.close_code == 4001
        await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the client's connection")
        assert not edge.plane.counters


@in_loop
async def test_websocket_passes_to_an_upstream_behind_tls(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    CA.issue("localhost").write_to(tmp_path / "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "localhost" / "fullchain.pem", tmp_path / "localhost" / "privkey.pem")
    async with (
        echo_server(tls) as upstream,
        relay_edge(tmp_path, [{"url": upstream, "ca_file": "ca.pem"}]) as edge,
        connect(f"ws://a.test:{edge.port}/", host="127.0.0.1", max_size=None, compression=None) as client,
    ):
        for message in ("hello", "x" * 3_000_000):
            await client.send(message)
            assert await client.recv() == message


@in_loop
async def test_tunnel_outlives_the_drain_of_its_connection(tmp_path: Path) -> None:
    async with (
        echo_server() as upstream,
        relay_edge(tmp_path, upstream) as edge,
        connect(f"ws://a.test:{edge.port}/", host="127.0.0.1") as client,
    ):
        for connection in list(edge.plane.connections):
            connection.drain()
        await client.send("still here")
        assert await client.recv() == "still here"


@in_loop
async def test_bytes_right_behind_the_upgrade_are_the_tunnels_on_both_sides(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(SWITCH + b"from upstream")
        await connection.read_until(b"from client")
        await connection.write(b"|more")
        connection.finish()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(UPGRADE + b"GET / HTTP/1.1 from client")
            head, _, rest = got.partition(b"\r\n\r\n")
            assert head.split(b"\r\n") == [
                b"HTTP/1.1 101 Switching Protocols", b"X-Kept: 1", ACCEPT, b"Connection: Upgrade",
                b"Upgrade: websocket",
            ]  # fmt: skip
            assert rest == b"from upstream|more"
            assert recorder.received.endswith(b"\r\n\r\nGET / HTTP/1.1 from client")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (UPGRADE, SWITCH.replace(ACCEPT, b"X-Other: 1")),
        (UPGRADE, SWITCH.replace(b"s3pP", b"S3PP")),
        (UPGRADE, SWITCH.replace(ACCEPT, ACCEPT + b"\r\n" + ACCEPT)),
        (UPGRADE.replace(b"dGhl", b"eGhl"), SWITCH),
        (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key"), SWITCH),
        (UPGRADE.replace(b"Sec-WebSocket-Version", b"Sec-WebSocket-Key"), SWITCH),
    ],
    ids=["none", "another case", "two", "another key", "no key", "two keys"],
)
@pytest.mark.parametrize("is_inspected", [False, True], ids=["relayed", "inspected"])
@in_loop
async def test_a_101_without_the_right_accept_is_a_502(
    is_inspected: bool, request_: bytes, answer: bytes, tmp_path: Path
) -> None:
    with Recorder(answering(answer + b"not for the client")) as recorder:
        run = inspecting_edge(tmp_path, recorder.url) if is_inspected else relay_edge(tmp_path, recorder.url)
        async with run as edge:
            request_ = request_.replace(b"keep-alive", b"close")  # `send` reads to the end
            got = await edge.send(request_ + b"not for the upstream", server_name=SITE if is_inspected else None)
            assert got.startswith(b"HTTP/1.1 502 ")
            assert b"not for the client" not in got
            assert b"not for the upstream" not in recorder.received
            assert edge.plane.counters["upstream_bad_upgrade"] == 1
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


@in_loop
async def test_an_upstream_has_a_minute_to_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "UPGRADE_SECONDS", 1)
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE)
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 504 ")


@in_loop
async def test_upgrade_that_the_upstream_declines_is_an_ordinary_exchange(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"no"), ok(b"next"))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(UPGRADE + b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", end=True)
            assert got.count(b"HTTP/1.1 200 OK") == 2
            assert got.endswith(b"next")


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"websocket", b"h2c"),
        UPGRADE.replace(b"websocket", b"websocket, h2c"),
        UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
        UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
    ],
    ids=["h2c", "a list", "two headers", "not in Connection", "HTTP/1.0", "POST", "with a body"],
)
@in_loop
async def test_only_a_websocket_is_requested_and_no_unasked_upgrade_is_accepted(
    request_: bytes, tmp_path: Path
) -> None:
    with Recorder(answering(SWITCH)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(request_, end=True)).startswith(b"HTTP/1.1 502 ")
            assert edge.plane.counters == {"upstream_unasked_upgrade": 1}
        assert b"pgrade" not in recorder.received.replace(b"Upgrade-", b"")


@pytest.mark.parametrize(
    "answer", [SWITCH.replace(b"websocket", b"h2c"), SWITCH.replace(b"Upgrade: websocket\r\n", b"")]
)
@in_loop
async def test_switch_to_something_else_is_a_502(answer: bytes, tmp_path: Path) -> None:
    with Recorder(answering(answer)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(UPGRADE, end=True)).startswith(b"HTTP/1.1 502 ")


def tunnelling(*, reset: bool = False) -> Handler:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(SWITCH)
        await connection.read_until(b".")
        if reset:
            connection.reset()

    return handle


@in_loop
async def test_end_of_the_client_ends_the_upstream(tmp_path: Path) -> None:
    with Recorder(tunnelling()) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


@in_loop
async def test_reset_by_the_upstream_ends_the_client(tmp_path: Path) -> None:
    with Recorder(tunnelling(reset=True)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(UPGRADE + b".")).endswith(b"\r\n\r\n")


@in_loop
async def test_tunnel_in_which_nothing_moves_is_closed(tmp_path: Path) -> None:
    with Recorder(tunnelling()) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"idle_seconds": 0.5}) as edge:
            assert (await edge.send(UPGRADE)).endswith(b"\r\n\r\n")
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


@pytest.mark.parametrize(("stall", "half_closed"), [(0.3, 60), (60, 0.3)], ids=["unnoticed", "noticed"])
@in_loop
async def test_client_that_has_gone_is_dropped_behind_an_upstream_that_hangs(
    stall: float, half_closed: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the upstream takes nothing, the edge does not read from the client and can't notice its end."""
    monkeypatch.setattr(tunnel, "STALL_SECONDS", stall)
    monkeypatch.setattr(tunnel, "HALF_CLOSED_SECONDS", half_closed)
    is_done = threading.Event()

    def hang() -> None:
        accepted, _ = hung.accept()
        with accepted:
            accepted.recv(65536)
            accepted.sendall(SWITCH)
            is_done.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as hung:
        threading.Thread(target=hang, daemon=True).start()
        async with relay_edge(tmp_path, f"http://127.0.0.1:{hung.getsockname()[1]}") as edge:
            reader, writer = await edge.connect()
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            if stall < half_closed:
                writer.write(b"x" * 30_000_000)
                await stands_still(writer.transport.get_write_buffer_size)
                assert writer.transport.get_write_buffer_size()
            writer.transport.abort()
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the client's connection")
            is_done.set()
            port = hung.getsockname()[1]
            # The loop must not end before the transport, which still had bytes to write.
            await wait_for_in_loop(lambda: port not in peer_ports(os.getpid()), "the end of the upstream's connection")


@in_loop
async def test_slow_reader_holds_the_upstream_back(tmp_path: Path) -> None:
    await assert_slow_reader_slows_upstream(tmp_path, UPGRADE, SWITCH)


@in_loop
async def test_active_count_returns_to_zero_after_a_tunnel(tmp_path: Path) -> None:
    async with echo_server() as upstream, relay_edge(tmp_path, upstream) as edge:
        async with connect(f"ws://a.test:{edge.port}/", host="127.0.0.1") as client:
            await client.send("x")
            await client.recv()
        servers = edge.plane.upstream_pool("main").servers
        await wait_for_in_loop(lambda: all(server.active == 0 for server in servers), "no work left")
