"""Bounds of upstream connections: by address, by pool, by open files; and the lines of requests that wait."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from edge_addon.upstream import opening as opening_module
from edge_addon.upstream.bounds import LINE_LENGTH, AddressUsage, Bounds, Line, serve
from tests.deadlines import wait_for_in_loop
from tests.descriptors import no_free_descriptor
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.relay.edge import MAIN_HOST, Edge, entry, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent

PER_ADDRESS = "upstream_connections_per_address_exceeded"
PER_POOL = "upstream_connections_exceeded"
FILES = "upstream_out_of_files"


async def get_from(edge: Edge, address: str) -> bytes:
    """The answer to a client with this address of the loopback network."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, local_addr=(address, 0))
    writer.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


def open_now(recorder: Recorder) -> int:
    return sum(not each.is_over for each in recorder.connections)


def has_returned_everything(edge: Edge, site: str = "main") -> bool:
    pool = edge.plane.upstream_pool(site)
    idle = sum(len(server.idle) for server in pool.servers)
    active = sum(server.active for server in pool.servers)
    return (pool.active, active, edge.plane.bounds.open - idle) == (0, 0, 0)


@pytest.mark.parametrize(
    ("limit", "cause"), [("upstream_connections_per_address", PER_ADDRESS), ("upstream_connections", PER_POOL)]
)
@pytest.mark.parametrize("is_inspected", [False, True], ids=["relayed", "inspected"])
@in_loop
async def test_requests_above_a_bound_wait_and_then_get_a_503(
    is_inspected: bool, limit: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "LINE_SECONDS", 0.5)
    limits: dict[str, Any] = {"limits": {limit: 10}}
    with Recorder(silent) as recorder:
        if is_inspected:
            run = inspecting_edge(tmp_path, recorder.url, **limits)
        else:
            run = relay_edge(tmp_path, recorder.url, kind="https", **limits)
        async with run as edge, Http2Client(edge, SITE if is_inspected else MAIN_HOST) as client:
            streams = [client.request() for _ in range(40)]
            await client.until(lambda: sum(client.responses[each].is_ended for each in streams) == 30)
            answers = [client.responses[each] for each in streams if client.responses[each].is_ended]
            assert {(each.status, each.fields[b"retry-after"]) for each in answers} == {(503, b"5")}
            assert len(recorder.connections) == 10
            assert edge.plane.counters[cause] == 30
            assert edge.plane.counters["upstream_waits"] == 30
        await wait_for_in_loop(lambda: has_returned_everything(edge, SITE if is_inspected else "main"), "free counts")


@pytest.mark.parametrize("limit", ["upstream_connections_per_address", "upstream_connections"])
@in_loop
async def test_requests_in_the_line_get_their_turn(limit: str, tmp_path: Path) -> None:
    busy = most = 0

    async def handle(connection: Connection) -> None:
        nonlocal busy, most
        while True:
            await connection.read_head()
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1
            await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https", limits={limit: 3}) as edge:
            async with Http2Client(edge) as client:
                streams = [client.request() for _ in range(90)]
                assert {(await client.response(each)).status for each in streams} == {200}
            assert most <= 3
            assert len(recorder.connections) <= 6, "idle connections are used by those in the line"
            await wait_for_in_loop(lambda: has_returned_everything(edge), "free counts")


@in_loop
async def test_an_address_at_its_bound_is_in_nobody_elses_way(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        while True:
            head = await connection.read_head()
            if b"X-Real-IP: 127.0.0.1" in head:
                await connection.read_to_end()
            await connection.write(ok())

    limits = {"upstream_connections_per_address": 5}
    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits=limits) as edge, AsyncExitStack() as stack:
            for _ in range(30):
                _, writer = await edge.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                stack.callback(writer.transport.abort)
            await edge.counted("upstream_waits", 25)
            for _ in range(10):
                assert (await get_from(edge, "127.0.0.2")).startswith(b"HTTP/1.1 200 ")
            assert open_now(recorder) == 6


@pytest.mark.parametrize("is_trusted", [False, True])
@in_loop
async def test_connections_of_a_trusted_proxy_count_alone(is_trusted: bool, tmp_path: Path) -> None:
    trusted = ["127.0.0.1/32" if is_trusted else "192.0.2.0/24"]
    limits = {"upstream_connections_per_address": 1}
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits=limits, trusted_proxies=trusted) as edge:
            for _ in range(3):
                _, writer = await edge.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
            if is_trusted:
                await wait_for_in_loop(lambda: len(recorder.connections) == 3, "a connection for each")
            else:
                await edge.counted("upstream_waits", 2)
                await wait_for_in_loop(lambda: len(recorder.connections) == 1, "one connection")


@in_loop
async def test_a_line_has_an_end(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with (
            relay_edge(tmp_path, recorder.url, kind="https", limits={"upstream_connections_per_address": 1}) as edge,
            Http2Client(edge) as one,
            Http2Client(edge) as other,
        ):
            for _ in range(100):
                one.request()
            await edge.counted("upstream_waits", 99)
            other.request()
            await edge.counted("upstream_waits", LINE_LENGTH)
            assert (await other.get()).status == 503


@in_loop
async def test_whoever_leaves_the_line_leaves_nothing_behind(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(
            tmp_path, recorder.url, kind="https", limits={"upstream_connections_per_address": 2}
        ) as edge:
            async with Http2Client(edge) as client:
                streams = [client.request() for _ in range(50)]
                await edge.counted("upstream_waits", 48)
                for each in streams[10:]:
                    client.h2.reset_stream(each, 8)
                client.flush()
                await edge.counted("client_gone", 0)
            await wait_for_in_loop(lambda: has_returned_everything(edge), "free counts")
            await wait_for_in_loop(lambda: not edge.plane.addresses, "no address")


@pytest.mark.slow
@in_loop
async def test_without_files_a_request_gets_a_503_and_an_idle_connection_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "LINE_SECONDS", 0.2)

    async def handle(connection: Connection) -> None:
        while (await connection.read_head()).startswith(b"GET "):
            await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https") as edge, Http2Client(edge) as client:
            edge.plane.bounds.files = 8
            assert (await client.get()).status == 200
            for _ in range(4):
                client.request(method="POST", body=None)  # a body of unknown length goes to a fresh connection
            await wait_for_in_loop(lambda: len(recorder.connections) == 5, "fresh connections")
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the idle connection")
            assert (await client.get()).status == 503
            assert edge.plane.counters[FILES] == 1


@in_loop
async def test_idle_connections_of_one_site_keep_no_file_from_another(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        while (await connection.read_head()).startswith(b"GET "):
            await connection.write(ok())

    with Recorder(handle) as popular, Recorder(handle) as other:
        sites = [entry("other", "other.test", upstream=other.url)]
        async with relay_edge(tmp_path, popular.url, sites=sites) as edge:
            pairs = [await edge.connect() for _ in range(10)]
            for _, writer in pairs:
                writer.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
            for reader, _ in pairs:
                await reader.readuntil(b"\r\n\r\n")
            await wait_for_in_loop(lambda: len(edge.plane.upstream_pool("main").servers[0].idle) == 10, "idle ones")
            for _, writer in pairs:
                writer.close()
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the clients")
            edge.plane.bounds.files = 20
            answer = await edge.send(b"GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")

            assert answer.startswith(b"HTTP/1.1 200 ")
            assert not edge.plane.counters["upstream_waits"]
            await wait_for_in_loop(lambda: popular.connections[0].is_over, "the end of the oldest")
            assert open_now(popular) == 9


@pytest.mark.parametrize("freed_by", ["an end", "a rest", "a client"])
@in_loop
async def test_whoever_waits_for_a_file_gets_the_next_one_of_any_site(freed_by: str, tmp_path: Path) -> None:
    may_answer = asyncio.Event()

    async def handle(connection: Connection) -> None:
        while (await connection.read_head()).startswith(b"GET "):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(may_answer.wait(), loop))
            await connection.write(ok())

    loop = asyncio.get_running_loop()
    with Recorder(handle) as slow, Recorder(answering(ok())) as other:
        sites = [entry("other", "other.test", upstream=other.url)]
        async with relay_edge(tmp_path, slow.url, sites=sites) as edge:
            _, first = await edge.connect()
            first.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
            _, second = await edge.connect()
            await wait_for_in_loop(lambda: slow.connections and slow.connections[0].received, "the request")
            reader, writer = await edge.connect()
            await wait_for_in_loop(lambda: len(edge.plane.connections) == 3, "the clients")
            edge.plane.bounds.files = 4 if freed_by == "a client" else 3
            writer.write(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
            await edge.counted("upstream_waits")
            if freed_by == "a rest":
                may_answer.set()
            elif freed_by == "an end":
                first.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                first.transport.abort()
            else:
                second.transport.abort()
            assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200 ")
            assert not edge.plane.counters[FILES]
            may_answer.set()


@in_loop
async def test_a_server_is_not_at_fault_when_files_run_out(tmp_path: Path) -> None:
    """The real error of the system, below what the bounds should prevent."""
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            await wait_for_in_loop(lambda: edge.plane.connections, "the connection")
            with no_free_descriptor():
                writer.write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert edge.plane.counters[FILES] == 1
            assert not edge.plane.counters["upstream_connect_failed"]
            (server,) = edge.plane.upstream_pool("main").servers
            assert not server.failed_until


def test_a_line_is_served_in_order_as_long_as_there_is_room() -> None:
    line: Line = {}
    served: list[str] = []

    class Request:
        def __init__(self, name: str, *, has_room: bool) -> None:
            self.name, self.has_room = name, has_room
            line[self] = None

        def try_again(self) -> bool:
            if self.has_room:
                del line[self]
                served.append(self.name)
            return self.has_room

    for name, has_room in (("a", True), ("b", True), ("c", False), ("d", True)):
        Request(name, has_room=has_room)
    serve(line)

    assert served == ["a", "b"]
    assert len(line) == 2


@pytest.mark.parametrize(
    ("clients", "upstream", "has_files"), [(0, 0, True), (0, 49, True), (0, 50, False), (60, 39, True), (60, 40, False)]
)
def test_half_of_the_files_are_for_clients(clients: int, upstream: int, has_files: bool) -> None:
    assert Bounds(1, 1, 100, clients=clients, open=upstream).has_files is has_files


class Idle:
    """So many idle connections of one pool."""

    def __init__(self, count: int) -> None:
        self.count = count

    def oldest_idle(self) -> float | None:
        return 0.0 if self.count else None

    def close_an_idle(self) -> None:
        self.count -= 1


@pytest.mark.parametrize(
    ("clients", "upstream", "idle", "has_room", "is_left"),
    [
        (75, 25, 25, True, 25),
        (76, 0, 0, False, 0),  # a quarter is for connections to web servers
        (60, 41, 9, True, 8),
        (60, 42, 9, True, 7),  # a mail client takes two files
        (60, 42, 1, False, 0),
        (60, 41, 0, False, 0),
    ],
)
def test_clients_take_the_files_of_idle_connections_and_of_no_others(
    clients: int, upstream: int, idle: int, has_room: bool, is_left: int
) -> None:
    pool = Idle(idle)

    assert Bounds(1, 1, 100, clients=clients, open=upstream, holders=[pool]).make_room_for_clients() is has_room
    assert pool.count == is_left


@in_loop
async def test_three_quarters_of_the_files_hold_clients(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            edge.plane.bounds.files = 40
            clients = [await edge.connect() for _ in range(30)]
            clients[0][1].write(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
            assert (await clients[0][0].read(12)) == b"HTTP/1.1 200"
            assert "connections_out_of_files" not in edge.plane.counters
            reader, _ = await edge.connect()
            assert await asyncio.wait_for(reader.read(12), 60) in (b"", b"HTTP/1.1 503")
            assert edge.plane.counters["connections_out_of_files"] == 1


def test_an_address_uses_nothing_at_first() -> None:
    usage = AddressUsage()
    assert (usage.active, len(usage.waiting)) == (0, 0)
