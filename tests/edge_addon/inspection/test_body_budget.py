"""What one connection may hold in whole bodies: twice the largest, and given back at the end of each."""

import asyncio
from pathlib import Path

import pytest
from mitmproxy import ctx, http

from edge_addon.inspection.body_budget import BodyBudget
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
