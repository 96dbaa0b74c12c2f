"""A connection handed to mitmproxy: what addons learn of the client, how it ends, what a client may not do."""

import asyncio
import contextlib
import gc
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import connection, http

from edge_addon.inspection import exchange, handler
from edge_addon.inspection.inspector import Inspector
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspected, inspecting_edge
from tests.edge_addon.planes import inspector_of
from tests.edge_addon.relay.edge import entry, stands_still
from tests.edge_addon.relay.http2.client import Http2Client, client_context
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


class Seen:
    """An addon that remembers."""

    def __init__(self) -> None:
        self.flows: list[http.HTTPFlow] = []
        self.clients: list[connection.Client] = []

    def client_connected(self, client: connection.Client) -> None:
        self.clients.append(client)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.flows.append(flow)


@in_loop
async def test_addons_see_a_client_as_if_mitmproxy_had_terminated_its_tls(tmp_path: Path) -> None:
    seen = Seen()
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(
            tmp_path,
            recorder.url,
            seen,
            listener={"accept_proxy_protocol": True},
            trusted_proxies=["127.0.0.1"],
        ) as edge:
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
            await writer.start_tls(client_context(), server_hostname=SITE)
            edge.writers.append(writer)
            await wait_for_in_loop(lambda: seen.clients, "a client")
    client = seen.clients[0]
    assert (client.peername, client.sockname) == (("192.0.2.7", 4711), ("192.0.2.1", 443))
    assert (client.sni, client.alpn, client.tls_version) == (SITE, b"h2", "TLSv1.3")
    assert client.tls
    assert client.tls_established
    assert client.proxy_mode.full_spec.startswith("edge:0@")


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_only_the_inspected_site_reaches_addons(is_http2: bool, tmp_path: Path) -> None:
    seen = Seen()
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(
            tmp_path, recorder.url, seen, sites=[inspected(SITE), entry("b.test", "b.test")]
        ) as edge:
            for site in (SITE, "b.test"):
                if is_http2:
                    async with Http2Client(edge, site) as client:
                        assert (await client.get()).body == b"ok"
                else:
                    answer = await edge.send(LAST.replace(b"a.test", site.encode()), server_name=site)
                    assert answer.startswith(b"HTTP/1.1 200 ")
                    assert answer.endswith(b"ok")
    assert [flow.request.pretty_host for flow in seen.flows] == [SITE]


@in_loop
async def test_a_drain_lets_the_answer_under_way_finish_and_says_that_it_is_the_last(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            reader, _ = await edge.connect(SITE)
            edge.writers[-1].write(GET)
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the request")
            (client,) = edge.plane.connections
            edge.plane.is_draining = True
            client.drain()
            recorder.say(0, ok())
            answer = await asyncio.wait_for(reader.read(), 20)
            assert b"Connection: close" in answer
            assert answer.endswith(b"ok")


@in_loop
async def test_a_drain_says_goaway_over_http2_and_ends_with_the_last_stream(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge, Http2Client(edge, SITE) as client:
            stream = client.request()
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the request")
            (each,) = edge.plane.connections
            each.drain()
            await client.until(lambda: client.goaway == 0)
            assert not client.is_closed
            recorder.say(0, ok())
            assert (await client.response(stream)).body == b"ok"
            await client.closed()


@in_loop
async def test_an_idle_connection_ends_with_the_drain(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect(SITE)
            writer.write(GET)
            await reader.readuntil(b"ok")
            (each,) = edge.plane.connections
            each.drain()
            assert await asyncio.wait_for(reader.read(), 20) == b""


@in_loop
async def test_a_head_that_does_not_end_is_answered_408(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, limits={"head_seconds": 1}) as edge:
            answer = await edge.send(b"GET / HTTP/1.1\r\nHost: a.te", server_name=SITE)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert recorder.received == b""


@in_loop
async def test_a_connection_on_which_nothing_is_asked_ends(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, limits={"head_seconds": 1}) as edge:
            assert await edge.send(b"", server_name=SITE) == b""


POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("is_http2", [False, True])
@pytest.mark.parametrize("site", [SITE, "unknown.test"], ids=["relayed", "refused"])
@in_loop
async def test_a_body_that_drips_ends_the_connection(
    is_http2: bool, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "STALL_SECONDS", 1.0)
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    stream = client.request(body=None, method="POST", authority=site)

                    async def drip() -> None:
                        while not client.is_closed:
                            client.send_data(stream, b"x")
                            await asyncio.sleep(0.1)

                    dripping = asyncio.create_task(drip())
                    await edge.counted("request_body_timed_out")
                    await client.until(lambda: client.is_closed)
                    dripping.cancel()
                return
            reader, writer = await edge.connect(SITE)
            writer.write((POST % 1000).replace(b"a.test", site.encode()))
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b"x")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await reader.read(65536)
            await edge.counted("request_body_timed_out")


@in_loop
async def test_an_upstream_that_takes_its_time_is_no_fault_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "STALL_SECONDS", 0.5)
    size = 30_000_000

    async def late(connection: Connection) -> None:
        head = await connection.read_head()
        await asyncio.sleep(3)  # several times the limit, while the client is held
        left = size - len(head.partition(b"\r\n\r\n")[2])
        while left > 0 and (data := await connection.read()):
            left -= len(data)
        await connection.write(ok())

    with Recorder(late) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(POST % size + b"x" * size, server_name=SITE)).endswith(b"ok")


@in_loop
async def test_a_client_that_sends_too_far_ahead_is_cut_off(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            await edge.send(GET + GET * 4000, server_name=SITE)
            await edge.counted("request_pipelined_too_far")


@in_loop
async def test_pipelined_requests_are_answered_in_turn(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"1"), ok(b"2"), ok(b"3"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            answer = await edge.send(GET + b"\r\n" + GET + LAST, server_name=SITE)
            assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_a_client_that_does_not_read_stops_the_upstream(is_http2: bool, tmp_path: Path) -> None:
    sent = 0

    async def counting(connection: Connection) -> None:
        nonlocal sent
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        for _ in range(4000):
            await connection.write(b"x" * 100_000)
            sent += 100_000

    with Recorder(counting) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            if is_http2:
                async with Http2Client(edge, SITE, reads_body=False) as client:
                    client.request()
                    await wait_for_in_loop(lambda: sent > 0, "the beginning of the body")
                    await stands_still(lambda: sent)
            else:
                _, writer = await edge.connect(SITE)
                writer.write(GET)
                await wait_for_in_loop(lambda: sent > 0, "the beginning of the body")
                await stands_still(lambda: sent)
            assert sent < 30_000_000, "what the client does not read was kept"


async def flood(connection: Connection) -> None:
    await connection.read_head()
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
    for _ in range(100):
        if not connection.writer.is_closing():
            await connection.write(b"x" * 100_000)


def held_by(inspector: Inspector) -> int:
    """Bytes that wait for clients' windows."""
    handlers = [session._handler for session in inspector._sessions.values()]
    return sum(sum(each.held_bytes(of_client=False).values()) for each in handlers)


def unread_bytes() -> int:
    """In all readers that were not freed."""
    readers: list[Any] = [each for each in gc.get_objects() if isinstance(each, asyncio.StreamReader)]
    return sum(len(each._buffer) for each in readers)


@in_loop
async def test_many_streams_that_are_not_read_wait_in_bounds_and_leave_nothing_to_the_collector(
    tmp_path: Path,
) -> None:
    gc.collect()
    gc.disable()
    try:
        with Recorder(flood) as recorder:
            async with inspecting_edge(tmp_path, recorder.url) as edge:
                inspector = inspector_of(edge.plane)
                async with Http2Client(edge, SITE, reads_body=False) as client:
                    for _ in range(60):
                        client.request()
                    await wait_for_in_loop(lambda: held_by(inspector) > handler.HELD_BY_ALL // 2, "much to wait")
                    await stands_still(lambda: held_by(inspector), 1.0)
                    # Each upstream may have been in the middle of a read.
                    assert held_by(inspector) < handler.HELD_BY_ALL + 60 * 65536
                    assert unread_bytes() > 1_000_000
                await wait_for_in_loop(lambda: not inspector.running, "the end of the connection")
                assert unread_bytes() < 500_000
    finally:
        gc.enable()


@in_loop
async def test_an_upstream_that_does_not_read_stops_the_client(tmp_path: Path) -> None:
    async def deaf(connection: Connection) -> None:
        await asyncio.Event().wait()

    with Recorder(deaf) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 400000000\r\n\r\n")
            sent = 0

            async def upload() -> None:
                nonlocal sent
                for _ in range(4000):
                    writer.write(b"x" * 100_000)
                    await writer.drain()
                    sent += 100_000

            task = asyncio.create_task(upload())
            await wait_for_in_loop(lambda: sent > 0, "the beginning of the upload")
            await stands_still(lambda: sent)
            task.cancel()
            assert sent < 30_000_000
            # Nobody reads from the client, so its end would be noticed only when the idle limit is over.
            for each in list(edge.plane.connections):
                each.abort()
