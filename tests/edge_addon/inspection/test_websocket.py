"""A WebSocket through the inspection: every message is an event, and none is lost at the ends."""

import asyncio
import os
import ssl
import zlib
from pathlib import Path

import pytest
from mitmproxy import ctx, http
from mitmproxy.proxy.layers.websocket import WebsocketConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from wsproto import ConnectionType
from wsproto.events import CloseConnection, Event
from wsproto.extensions import Extension, PerMessageDeflate

from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.websocket import WebSocketSide
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.readers import PEER
from tests.edge_addon.relay.edge import CA, Edge, stands_still
from tests.edge_addon.relay.http2.client import Http2Client
from tests.edge_addon.relay.test_tunnel import echo_server
from tests.loops import in_loop


class Messages:
    """An addon that follows WebSockets, and changes or drops what it is told to."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.flows: list[http.HTTPFlow] = []
        self.kept = 0

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        self.events.append("start")
        self.flows.append(flow)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        self.kept = max(self.kept, len(flow.websocket.messages))
        message = flow.websocket.messages[-1]
        self.events.append(("> " if message.from_client else "< ") + message.text)
        if message.text == "secret":
            message.drop()
        message.text = message.text.replace("one", "two")

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        self.events.append(f"end {flow.websocket.close_code}")


def to(edge: Edge, *, compression: str | None = "deflate") -> connect:
    tls = ssl.create_default_context(cadata=CA.root_pem.decode())
    return connect(f"wss://{SITE}:{edge.port}/", host="127.0.0.1", ssl=tls, compression=compression)


@pytest.mark.parametrize("compression", ["deflate", None])
@in_loop
async def test_messages_are_seen_changed_and_dropped_in_order(compression: str | None, tmp_path: Path) -> None:
    addon = Messages()
    async with echo_server(compression=compression) as upstream, inspecting_edge(tmp_path, upstream, addon) as edge:
        async with to(edge, compression=compression) as client:
            assert bool(client.protocol.extensions) is (compression is not None)
            for text in ("one", "secret", "last"):
                await client.send(text)
            assert [await client.recv(), await client.recv()] == ["two", "last"]
            assert (await asyncio.wait_for(await client.ping(), 60)) >= 0
        await wait_for_in_loop(lambda: "end 1000" in addon.events, "the end")
        assert not edge.plane.counters["upstream_gone"]
    assert [each for each in addon.events if each[0] == ">"] == ["> one", "> secret", "> last"]
    assert [each for each in addon.events if each[0] == "<"] == ["< two", "< last"]
    assert (addon.events[0], addon.events[-1]) == ("start", "end 1000")
    assert not addon.flows[0].live


@in_loop
async def test_messages_are_not_hoarded(tmp_path: Path) -> None:
    addon = Messages()
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        for number in range(300):
            await client.send(f"message {number}")
            assert await client.recv() == f"message {number}"
    assert addon.kept <= 2


@in_loop
async def test_a_burst_of_small_messages_passes(tmp_path: Path) -> None:
    addon, count = Messages(), 5000

    async def burst(connection: ServerConnection) -> None:
        connection.transport.write(b"\x81\x01x" * count)
        await connection.wait_closed()

    async with serve(burst, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with inspecting_edge(tmp_path, f"http://127.0.0.1:{port}", addon) as edge, to(edge) as client:
            for _ in range(count):
                assert await client.recv() == "x"
    assert addon.events.count("< x") == count


@in_loop
async def test_a_websocket_over_http2_is_inspected_too(tmp_path: Path) -> None:
    addon = Messages()
    async with (
        echo_server() as upstream,
        inspecting_edge(tmp_path, upstream, addon) as edge,
        Http2Client(edge, SITE) as client,
    ):
        stream = client.request(
            "/", (":protocol", "websocket"), ("sec-websocket-version", "13"), method="CONNECT", body=None
        )
        await client.until(lambda: client.responses[stream].status == 200)
        client.send_data(stream, b"\x81\x83\x00\x00\x00\x00one")
        await client.until(lambda: bytes(client.responses[stream].body) == b"\x81\x03two")
    assert addon.events[:3] == ["start", "> one", "< two"]


class Slow(Messages):
    """An addon whose hooks wait."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = asyncio.Event()

    async def websocket_message(self, flow: http.HTTPFlow) -> None:  # type: ignore[override]
        await self.may_go_on.wait()
        super().websocket_message(flow)


@in_loop
async def test_what_an_upstream_says_before_it_closes_still_arrives_behind_a_slow_hook(tmp_path: Path) -> None:
    async def farewell(connection: ServerConnection) -> None:
        await connection.send("last")

    addon = Slow()
    async with serve(farewell, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with inspecting_edge(tmp_path, f"http://127.0.0.1:{port}", addon) as edge, to(edge) as client:
            receiving = asyncio.ensure_future(client.recv())
            await wait_for_in_loop(lambda: "start" in addon.events, "the start")
            addon.may_go_on.set()
            assert await receiving == "last"
            with pytest.raises(ConnectionClosed):
                await client.recv()


@in_loop
async def test_a_client_that_sends_on_while_a_hook_waits_is_not_read_from(tmp_path: Path) -> None:
    addon = Slow()
    sent = 0

    async def send(client: ClientConnection) -> None:
        nonlocal sent
        for _ in range(400):
            await client.send(b"x" * 100_000)
            sent += 1

    async with (
        echo_server() as upstream,
        inspecting_edge(tmp_path, upstream, addon) as edge,
        to(edge, compression=None) as client,
    ):
        sending = asyncio.create_task(send(client))
        await wait_for_in_loop(lambda: sent > 0, "the first message")
        await stands_still(lambda: sent)
        assert sent < 300
        addon.may_go_on.set()
        for _ in range(400):
            assert len(await client.recv()) == 100_000
        await sending


@in_loop
async def test_a_client_that_vanishes_ends_the_websocket(tmp_path: Path) -> None:
    addon = Messages()
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        await client.send("one")
        assert await client.recv() == "two"
        client.transport.abort()
        await wait_for_in_loop(lambda: "end 1006" in addon.events, "the end")


@in_loop
async def test_a_hook_that_never_returns_is_cancelled_after_the_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_addon.inspection.hooks.LATE_SECONDS", 0.2)
    addon = Slow()
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        await client.send("one")
        await wait_for_in_loop(lambda: "start" in addon.events, "the start")
        client.transport.abort()
        await edge.counted("inspection_hook_cancelled")


@in_loop
async def test_the_user_injects_a_message_into_an_open_websocket(tmp_path: Path) -> None:
    addon = Messages()
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        await wait_for_in_loop(lambda: addon.flows, "the start")
        ctx.master.commands.call("inject.websocket", addon.flows[0], True, b"one", True)
        assert await client.recv() == "two"


def frame(payload: bytes, *, opcode: int, is_compressed: bool = False) -> bytes:
    """A client's frame with a mask of zeros; the message does not end with it."""
    return bytes((opcode | (0x40 if is_compressed else 0), 0xFF)) + len(payload).to_bytes(8) + b"\0\0\0\0" + payload


def bomb(size: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(b"x" * size) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("kind", ["one frame", "many frames", "empty frames", "compressed"])
@in_loop
async def test_a_message_that_is_too_big_ends_the_websocket(kind: str, tmp_path: Path) -> None:
    pieces = {
        "one frame": [frame(b"", opcode=2)[:2] + (1 << 40).to_bytes(8) + b"\0\0\0\0", *[b"x" * 100_000] * 30],
        "many frames": [frame(b"x" * 100_000, opcode=2), *[frame(b"x" * 100_000, opcode=0)] * 30],
        "empty frames": [b"\x02\x80\0\0\0\0", *[b"\x00\x80\0\0\0\0" * 1000] * 30],
        "compressed": [frame(bomb(100_000_000), opcode=2, is_compressed=True)],
    }[kind]
    addon = Messages()
    compression = "deflate" if kind == "compressed" else None
    async with echo_server(compression=compression) as upstream, inspecting_edge(tmp_path, upstream, addon) as edge:
        ctx.options.update(body_size_limit="1m")
        async with to(edge) as client:
            for piece in pieces:
                client.transport.write(piece)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert addon.events == ["start", "end 1009"]


def announced(size: int, *, opcode: int = 2, is_last: bool = True, is_compressed: bool = False) -> bytes:
    """The head of a client's frame of this size, which has more than 64 KB."""
    first = opcode | (0x80 if is_last else 0) | (0x40 if is_compressed else 0)
    return bytes((first, 0xFF)) + size.to_bytes(8) + b"\0\0\0\0"


LIMIT = 1 << 20
TOO_LONG = {
    "one frame": [announced(LIMIT + 1)],
    "one frame of the largest size": [announced((1 << 63) - 1)],
    "its first byte": [announced(LIMIT + 1) + b"x"],
    "byte by byte": [bytes((each,)) for each in announced(LIMIT + 1)],
    "a text": [announced(LIMIT + 1, opcode=1)],
    "the second frame": [announced(600_000, is_last=False), bytes(600_000), announced(600_000, opcode=0)],
    "behind a message": [announced(600_000), bytes(600_000) + announced(LIMIT + 1)],
    "compressed": [announced(LIMIT + LIMIT // 500, is_compressed=True)],
}


@pytest.mark.parametrize("kind", TOO_LONG)
def test_a_frame_is_refused_by_the_length_that_it_announces(kind: str) -> None:
    budget = BodyBudget()
    deflate = PerMessageDeflate()
    deflate.finalize("permessage-deflate")
    extensions: list[Extension] = [deflate] if kind == "compressed" else []
    side = WebSocketSide(WebsocketConnection(ConnectionType.SERVER, extensions, conn=PEER), LIMIT, budget)
    seen: list[Event] = []
    for piece in TOO_LONG[kind]:
        assert not seen or not isinstance(seen[-1], CloseConnection)
        side.receive_data(piece)
        seen += side.events()
    assert isinstance(seen[-1], CloseConnection)
    assert seen[-1].code == 1009
    assert budget.held < (700_000 if kind in {"the second frame", "behind a message"} else 1)


@pytest.mark.parametrize("compression", ["deflate", None])
@in_loop
async def test_a_message_just_below_the_limit_passes_in_one_frame(compression: str | None, tmp_path: Path) -> None:
    """Compressed, random bytes are longer than what they stand for."""
    data, addon = os.urandom(LIMIT - 8192), Messages()
    async with echo_server(compression=compression) as upstream, inspecting_edge(tmp_path, upstream, addon) as edge:
        ctx.options.update(body_size_limit="1m")
        async with to(edge, compression=compression) as client:
            await client.send(data)
            assert await client.recv() == data


@pytest.mark.parametrize("compression", ["deflate", None])
@in_loop
async def test_a_big_message_passes(compression: str | None, tmp_path: Path) -> None:
    addon, sizes = Messages(), list[int]()
    addon.websocket_message = lambda flow: sizes.append(len(flow.websocket.messages[-1].content))  # type: ignore[method-assign, union-attr]
    async with (
        echo_server(compression=compression) as upstream,
        inspecting_edge(tmp_path, upstream, addon) as edge,
        to(edge) as client,
    ):
        await client.send(["é" * 100_000, "b" * 400_000])
        assert await client.recv() == "é" * 100_000 + "b" * 400_000
    assert sizes == [600_000, 600_000]


@in_loop
async def test_a_message_that_can_not_be_sent_ends_the_websocket(tmp_path: Path) -> None:
    addon = Messages()
    addon.websocket_message = lambda flow: setattr(flow.websocket.messages[-1], "content", None)  # type: ignore[method-assign, union-attr]
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        await client.send("one")
        with pytest.raises(ConnectionClosed):
            await client.recv()
    assert addon.events[0] == "start"
    assert addon.events[1].startswith("end")
    assert not addon.flows[0].live


@in_loop
async def test_a_message_that_the_user_holds_is_let_go_when_the_client_has_gone(tmp_path: Path) -> None:
    addon = Messages()
    addon.websocket_message = lambda flow: flow.intercept()  # type: ignore[method-assign]
    async with echo_server() as upstream, inspecting_edge(tmp_path, upstream, addon) as edge, to(edge) as client:
        await client.send("one")
        await wait_for_in_loop(lambda: addon.flows and addon.flows[0].intercepted, "the message")
        client.transport.abort()
        await wait_for_in_loop(lambda: "end 1006" in addon.events, "the end")
