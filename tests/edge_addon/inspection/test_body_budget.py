"""What one connection may hold in whole bodies: twice the largest, and given back at the end of each."""

import asyncio
from pathlib import Path

import pytest
from mitmproxy import ctx, http
from mitmproxy.connection import Server
from mitmproxy.proxy.layers.websocket import WebsocketConnection
from wsproto import ConnectionType
from wsproto.events import CloseConnection, Message

from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.websocket import WebSocketSide
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok


def test_what_does_not_fit_is_refused_and_what_is_given_back_fits_again() -> None:
    budget = BodyBudget()
    assert budget.take(10, 10)
    assert budget.take(10, 10)
    assert not budget.take(1, 10)
    budget.give_back(10)
    assert budget.take(10, 10)
    assert budget.held == 20


@pytest.mark.parametrize("limit", [10_000, 100_000])
def test_messages_of_many_websockets_share_one_budget(limit: int) -> None:
    budget = BodyBudget()
    conn = Server(address=None)
    sides = [WebSocketSide(WebsocketConnection(ConnectionType.CLIENT, conn=conn), limit, budget) for _ in range(3)]
    message = b"\x02\x7e" + (9000).to_bytes(2) + bytes(9000)  # the first frame of a longer one

    def closes(side: WebSocketSide, data: bytes) -> list[int]:
        side.receive_data(data)
        return [event.code for event in side.events() if isinstance(event, CloseConnection)]

    assert [closes(side, message) for side in sides] == [[], [], [1009] if limit == 10_000 else []]
    sides[0].receive_data(b"\x80\x00")
    assert [event.message_finished for event in sides[0].events() if isinstance(event, Message)] == [True]
    held = budget.held
    sides[0].give_back()
    assert held - budget.held > 9000
    for side in sides:
        side.give_back(is_over=True)
        side.give_back()
    assert budget.held == 0


class Whole:
    """An addon that asks for each body, and waits with it."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.waiting = 0

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        flow.request.stream = False

    async def request(self, _: http.HTTPFlow) -> None:
        self.waiting += 1
        await self.may_go_on.wait()


@in_loop
async def test_the_streams_of_one_connection_hold_no_more_than_two_large_bodies(tmp_path: Path) -> None:
    addon = Whole()
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            ctx.options.update(body_size_limit="10k")
            async with Http2Client(edge, SITE) as client:
                streams = []
                for number in range(5):
                    streams.append(client.request("/", method="POST", body=bytes(8000)))
                    if number < 2:
                        await wait_for_in_loop(lambda: addon.waiting == number + 1, "a whole body")  # noqa: B023
                refused = [(await client.response(stream)).status for stream in streams[2:]]
                addon.may_go_on.set()
                served = [(await client.response(stream)).status for stream in streams[:2]]
                assert (await client.response(client.request("/", method="POST", body=bytes(8000)))).status == 200

    assert (refused, served) == ([503] * 3, [200, 200])
    assert edge.plane.counters["inspection_bodies_too_large"] == 3


@pytest.mark.parametrize("event", ["requestheaders", "request", "response", "error", "client_connected"])
@in_loop
async def test_a_hook_that_never_returns_is_cancelled_once_nobody_waits_for_it(
    event: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_addon.inspection.hooks.LATE_SECONDS", 0.2)
    began = asyncio.Event()

    async def forever(_: object) -> None:
        began.set()
        await asyncio.Event().wait()

    class Stuck:
        """Waits for good in one event."""

    setattr(Stuck, event, staticmethod(forever))
    reply = (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", close=True)
        if event == "error"
        else answering(ok())
    )
    with Recorder(reply) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Stuck()) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await began.wait()
            writer.transport.abort()
            await edge.counted("inspection_hook_cancelled")
            # The edge waits at its end until no task of a hook is left.
