"""Idle connections give way near a limit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from edge_addon.plane import data_plane as plane_module
from edge_addon.plane import giving_way
from edge_addon.plane.giving_way import is_near, select_idle
from edge_addon.transport.channel import Connection
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import MAIN_HOST, Edge, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection as Upstream
from tests.peers.recorder import Recorder, answering, ok

GET = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n"


class Idle:
    def __init__(self, since: float | None) -> None:
        self.idle_since = since


@pytest.mark.parametrize(
    ("since", "chosen"),
    [([10.0, 30.0, 20.0], [10.0]), ([None, 30.0, None], [30.0]), ([96.0, None], []), ([95.0, 94.9], [94.9]), ([], [])],
)
def test_the_longest_idle_are_chosen_first_and_those_in_use_never(
    since: list[float | None], chosen: list[float]
) -> None:
    connections = [cast(Connection, Idle(each)) for each in since]
    assert [each.idle_since for each in select_idle(connections, 100.0, 30)] == chosen


def test_a_twentieth_gives_way_at_a_time() -> None:
    connections = [cast(Connection, Idle(float(each))) for each in range(500)]
    assert [each.idle_since for each in select_idle(connections, 1000.0, 500)] == list(range(25))


@pytest.mark.parametrize(("count", "limit", "near"), [(475, 500, False), (476, 500, True), (3, 3, False), (4, 3, True)])
def test_near_a_limit_is_its_last_twentieth(count: int, limit: int, near: bool) -> None:
    assert is_near(count, limit) is near


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(plane_module, "PAUSE_SECONDS", 0.0)


async def is_served(edge: Edge) -> bool:
    reader, writer = await edge.connect()
    writer.write(GET)
    return (await asyncio.wait_for(reader.read(12), 60)) == b"HTTP/1.1 200"


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
@pytest.mark.usefixtures("at_once")
@in_loop
async def test_the_connection_that_is_idle_for_the_longest_time_gives_way(limit: str, tmp_path: Path) -> None:
    async def handle(connection: Upstream) -> None:
        while b"/wait" not in await connection.read_head():
            await connection.write(ok())
        await connection.read_to_end()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={limit: 40}) as edge:
            waiting_reader, waiting = await edge.connect()
            waiting.write(GET.replace(b"/", b"/wait", 1))
            clients = [await edge.connect() for _ in range(37)]
            for reader, writer in clients:
                writer.write(GET)
                await reader.readuntil(b"ok")
                answered = edge.plane.loop.time()
                await wait_for_in_loop(lambda: edge.plane.loop.time() > answered + 0.002, "the next millisecond")  # noqa: B023
            assert await is_served(edge)
            assert await asyncio.wait_for(clients[0][0].read(), 60) == b""
            assert not waiting_reader.at_eof()
            assert edge.plane.counters["connections_gave_way"] >= 1
            assert not edge.plane.counters[f"{limit}_exceeded"]


@pytest.mark.usefixtures("at_once")
@in_loop
async def test_an_idle_http2_connection_gives_way_with_a_goaway(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(
            tmp_path, recorder.url, kind="https", limits={"connections_per_address": 20}
        ) as edge, Http2Client(edge) as client:  # fmt: skip
            assert (await client.get()).status == 200
            for _ in range(19):
                await edge.connect(MAIN_HOST)
            assert await client.closed() == 0


@in_loop
async def test_a_network_of_48_bits_has_a_limit_of_its_own(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"connections_per_network": 10}) as edge:
            plane = edge.plane
            here = [f"2001:db8:1:{number:x}::1" for number in range(11)]
            connections = [cast(Connection, Idle(None)) for _ in here]
            addresses = [plane.enter(*each) for each in zip(here, connections, strict=True)]
            admitted = [plane.admits(address) for address in addresses]
            assert admitted == [True] * 10 + [False]
            assert plane.counters["connections_per_network_exceeded"] == 1
            other = cast(Connection, Idle(None))
            assert plane.admits(plane.enter("2001:db8:2::1", other))
            assert plane.admits(plane.enter("192.0.2.1", other))
            for each in zip(addresses, connections, strict=True):
                plane.leave(*each)
            assert plane.admits(plane.enter(here[0], connections[0]))
