"""The client's side of the relay: order, keep-alive, framing towards both HTTP versions, back-pressure, endings."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
from pathlib import Path

import h11
import pytest

from edge_addon.relay import http1
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import assert_slow_reader_slows_upstream, relay_edge, stands_still
from tests.loops import in_loop
from tests.peers.recorder import Connection, Handler, Recorder, answering, ok, silent

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n"


def read_response(data: bytes, method: bytes = b"GET") -> tuple[h11.Response, bytes, h11.EndOfMessage]:
    """Parse one response with h11; fails if it is incomplete or something follows."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a.test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    body = b""
    response = client.next_event()
    while isinstance(response, h11.InformationalResponse):
        response = client.next_event()
    assert isinstance(response, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    if event is h11.NEED_DATA:
        client.receive_data(b"")
        event = client.next_event()
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body, event


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def in_turn(*steps: bytes) -> Handler:
    """Answer the first head with these pieces; the test releases each one with a byte `.`."""

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        for step in steps:
            await connection.write(step)
            await connection.read_until(b".")

    return handle


@in_loop
async def test_requests_sent_at_once_are_answered_in_order_on_one_upstream_connection(tmp_path: Path) -> None:
    with Recorder(answering(*(ok(b"%d" % number) for number in range(20)))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET * 20, end=True)
            assert [part.partition(b"\r\n\r\n")[2] for part in got.split(b"HTTP/1.1 200 OK")[1:]] == [
                b"%d" % number for number in range(20)
            ]
            assert len(recorder.connections) == 1


@in_loop
async def test_next_request_waits_until_the_answer_before_it_is_complete(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect()
            writer.write(GET + GET.replace(b"/ ", b"/second "))
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the first request")
            assert b"second" not in recorder.received


@in_loop
async def test_client_that_sends_too_far_ahead_is_not_read_from(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect()
            for _ in range(400):
                writer.write(GET * 1000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.5)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nbody",
    ],
    ids=["length", "chunked", "until close", "HTTP/1.0 until close", "HTTP/1.0 keep-alive"],
)
@in_loop
async def test_every_way_to_end_a_body_reaches_clients_of_both_versions(
    response: bytes, version: bytes, tmp_path: Path
) -> None:
    with Recorder(answering(response, close=b"Length" not in response and b"chunked" not in response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET.replace(b"1.1", version), end=True)
            head, body, _ = read_response(got)
            assert head.status_code == 200
            assert body == b"body"
            assert version == b"1.1" or b"Transfer-Encoding" not in got


@in_loop
async def test_body_in_pieces_goes_out_as_it_comes(tmp_path: Path) -> None:
    pieces = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nfirst\r\n", b"4\r\nlast\r\n0\r\n\r\n")
    with Recorder(in_turn(*pieces)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(POST % 3)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b".")
            await reader.readuntil(b"first\r\n")
            writer.write(b".")
            assert await reader.readuntil(b"0\r\n\r\n") == b"4\r\nlast\r\n0\r\n\r\n"


@in_loop
async def test_http_1_0_client_gets_a_body_without_length_until_the_connection_ends(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await connection.read_until(b".")
        await connection.write(b"2\r\ncd\r\n0\r\n\r\n")

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(b"POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n")
            await reader.readuntil(b"ab")
            writer.write(b".")
            assert await reader.read() == b"cd"


@in_loop
async def test_http_1_0_client_keeps_its_connection_when_it_asks_to(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            for _ in range(3):
                writer.write(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n")
                assert b"Connection: keep-alive" in await reader.readuntil(b"\r\n\r\nok")
            writer.write(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
            assert b"Connection: close" in await reader.read()


@pytest.mark.parametrize(
    ("method", "response"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    ],
)
@in_loop
async def test_answer_without_a_body_is_followed_by_the_next_answer(
    method: bytes, response: bytes, tmp_path: Path
) -> None:
    answers = iter((response, ok(b"next")))

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(next(answers))

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET.replace(b"GET", method) + GET, end=True)
            first, _, second = got.partition(b"\r\n\r\n")
            assert read_response(second)[1] == b"next"
            assert (b"Content-Length" in first) == (b"1000" in response)


@in_loop
async def test_trailers_pass_both_ways_without_those_that_would_change_the_message(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_until(b"0\r\nX-Up: 1\r\n\r\n")
        await connection.write(
            b"HTTP/1.1 200 OK\r\nTrailer: X-Down\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
            b"0\r\nX-Down: 2\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n"
        )

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE, close\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Up: 1\r\nHost: b.test\r\nX_Up: 3\r\n\r\n"
            )
            _, body, end = read_response(got)
            assert body == b"ok"
            assert list(end.headers) == [(b"x-down", b"2")]
        head, _, chunks = recorder.received.partition(b"\r\n\r\n")
        assert chunks == b"2\r\nab\r\n0\r\nX-Up: 1\r\n\r\n"
        assert b"\r\nConnection: TE\r\nTE: trailers\r\n" in head


@in_loop
async def test_hop_by_hop_headers_stay_on_their_hop(tmp_path: Path) -> None:
    response = ok(b"ok", b"Connection: X-Secret, keep-alive", b"X-Secret: 1", b"Keep-Alive: timeout=5", b"X-Kept: 2")
    with Recorder(answering(response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(
                b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 300\r\n"
                b"Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy: http://x\r\n"
                b"X_Forwarded_For: 10.0.0.1\r\nX-Kept: 2\r\n\r\n"
            )
        for dropped in (b"x-secret", b"keep-alive", b"timeout"):
            assert dropped not in got.lower()
        for dropped in (
            b"x-mine",
            b"keep-alive",
            b"proxy",
            b"upgrade",
            b"h2c",
            b"http2",
            b"\r\nte:",
            b"x_",
            b"10.0.0.1",
        ):
            assert dropped not in recorder.received.lower()
        assert b"\r\nX-Kept: 2\r\n" in got
        assert b"\r\nX-Kept: 2\r\n" in recorder.received
        assert b"connection" not in recorder.received.lower()


@in_loop
async def test_expect_is_passed_on_and_the_upstream_decides(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        assert b"Expect: 100-continue" in await connection.read_head()
        await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read_until(b"body")
        await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 4)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"body")
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")
            writer.write(GET)  # the connection goes on
            await wait_for_in_loop(lambda: b"GET" in recorder.received, "the next request")


@in_loop
async def test_refused_expectation_gets_its_answer_without_a_body(tmp_path: Path) -> None:
    with Recorder(answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 4)
            assert got.startswith(b"HTTP/1.1 401 ")
            assert b"Connection: close" in got
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the half-used connection")


@in_loop
async def test_early_hints_pass_and_an_unasked_100_does_not(tmp_path: Path) -> None:
    response = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok()
    with Recorder(answering(response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET, end=True)
            assert got.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK")
            assert (await edge.send(GET.replace(b"1.1", b"1.0"))).startswith(b"HTTP/1.1 200 OK")


@in_loop
async def test_answer_before_the_end_of_the_body_reaches_the_client_and_ends_the_connection(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    with Recorder(answering(refusal)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(POST % 10_000_000 + b"x" * 5000)
            assert got.startswith(b"HTTP/1.1 413 ")
            assert got.endswith(b"\r\n\r\nbig")
            assert b"Connection: close" in got


@in_loop
async def test_answer_of_an_upstream_that_refuses_a_large_body_and_closes_arrives(tmp_path: Path) -> None:
    """Its answer is in our socket when the next write fails: the answer counts, not the failure."""

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.finish()

    def upload(port: int) -> bytes:
        """A client that keeps sending in any case and reads at the end."""
        got = b""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(POST % 50_000_000)
                for _ in range(200):
                    client.sendall(b"x" * 250_000)
            with contextlib.suppress(ConnectionError):
                while data := client.recv(65536):
                    got += data
        return got

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(20):
                got = await asyncio.to_thread(upload, edge.port)
                assert got.startswith(b"HTTP/1.1 413 "), (got, edge.plane.counters)


@in_loop
async def test_upload_sent_ahead_goes_on_after_the_answer_before_it(tmp_path: Path) -> None:
    size = 20_000_000

    async def handle(connection: Connection) -> None:
        head = await connection.read_head()
        if head.startswith(b"GET "):
            await wait_for_in_loop(go_on.is_set, "the word to answer", seconds=60)
            await connection.write(ok(b"first"))
        else:
            await connection.read_until(b"end")
            await connection.write(ok(b"second", b"Connection: close"))

    go_on = threading.Event()
    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(GET + POST % size + b"x" * (size - 3) + b"end")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.5)
            go_on.set()
            assert (await reader.readuntil(b"first")).startswith(b"HTTP/1.1 200 ")
            assert (await asyncio.wait_for(reader.readuntil(b"second"), 60)).startswith(b"HTTP/1.1 200 ")


@in_loop
async def test_upstream_connection_is_read_from_again_after_a_slow_client(tmp_path: Path) -> None:
    """A response may be complete at the moment when its client stops reading."""
    body = b"x" * 150_000
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (
        len(body),
        body,
    )
    with Recorder(answering(response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            count = 100
            writer.write(GET * count)
            await stands_still(lambda: len(recorder.received))
            assert recorder.received.count(b"GET") < count
            for _ in range(count):
                await asyncio.wait_for(reader.readuntil(b"X-T: 1\r\n\r\n"), 60)


@in_loop
async def test_large_upload_moves_only_as_fast_as_the_upstream_takes_it(tmp_path: Path) -> None:
    go_on = threading.Event()

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await wait_for_in_loop(go_on.is_set, "the word to read on", seconds=60)
        await connection.read_to_end()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect()
            writer.write(POST % 100_000_000)
            for _ in range(100):
                writer.write(b"x" * 1_000_000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.7)
            assert not sum(each._transport.get_write_buffer_size() for each in connections_of(edge.plane))
            go_on.set()
            await asyncio.wait_for(writer.drain(), 60)
            await wait_for_in_loop(lambda: len(recorder.received) > 99_000_000, "the body", seconds=60)


@in_loop
async def test_large_download_moves_only_as_fast_as_the_client_reads(tmp_path: Path) -> None:
    await assert_slow_reader_slows_upstream(tmp_path, GET, b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")


@pytest.mark.parametrize(
    ("response", "is_cut"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", False),
    ],
)
@in_loop
async def test_upstream_that_vanishes_in_a_body_leaves_it_visibly_short(
    response: bytes, is_cut: bool, tmp_path: Path
) -> None:
    with Recorder(answering(response, close=True)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET)
            with pytest.raises(h11.RemoteProtocolError):
                read_response(got)
            await edge.counted("upstream_gone")


@in_loop
async def test_upstream_that_vanishes_before_its_answer_is_a_502(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        connection.reset()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(GET + GET, end=True)
            assert got.count(b"HTTP/1.1 502 Bad Gateway") == 2, "the connection to the client goes on"
            assert len(recorder.connections) == 2, "a fresh connection is no stale one: nothing is sent twice"
            assert edge.plane.counters["upstream_gone"] == 2


@in_loop
async def test_client_that_vanishes_takes_its_upstream_request_along(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect()
            writer.write(GET)
            await wait_for_in_loop(lambda: b"GET" in recorder.received, "the request")
            reset(writer)
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")
            await edge.counted("client_gone")


@in_loop
async def test_half_closed_client_gets_its_answer_if_it_comes_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HALF_CLOSED_SECONDS", 0.5)
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(GET)
            await wait_for_in_loop(lambda: b"GET" in recorder.received, "the request")
            writer.write_eof()
            recorder.say(0, ok())
            assert (await reader.read()).endswith(b"ok")
            assert (await edge.send(GET, end=True)).startswith(b"HTTP/1.1 504 ")


@in_loop
async def test_client_that_ends_in_the_middle_of_its_body_leaves_no_whole_request_behind(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(POST % 10 + b"half")
            await wait_for_in_loop(lambda: b"half" in recorder.received, "half of the body")
            writer.write_eof()
            assert await reader.read() == b""
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


@in_loop
async def test_head_that_trickles_in_gets_408(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"head_seconds": 1}) as edge:
            reader, writer = await edge.connect()
            head = asyncio.ensure_future(reader.read())
            for byte in GET[:-2]:
                writer.write(bytes([byte]))
                await asyncio.wait([head], timeout=0.1)
                if head.done():
                    break
            assert (await head).startswith(b"HTTP/1.1 408 ")
            assert recorder.received == b""
            assert edge.plane.counters == {"request_head_timed_out": 1}


@in_loop
async def test_connection_without_a_request_is_closed(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"head_seconds": 0.5}) as edge:
            assert await edge.send(b"") == b""


@in_loop
async def test_stalled_body_gets_408(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"idle_seconds": 0.5}) as edge:
            assert (await edge.send(POST % 10 + b"half")).startswith(b"HTTP/1.1 408 ")
            assert edge.plane.counters == {"request_body_timed_out": 1}


@in_loop
async def test_upstream_that_never_answers_is_a_504(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"idle_seconds": 0.5}) as edge:
            assert (await edge.send(GET)).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
            assert edge.plane.counters == {"upstream_timed_out": 1}


@in_loop
async def test_idle_connection_is_closed_after_its_limit(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, limits={"idle_seconds": 0.5}) as edge:
            assert (await edge.send(GET)).endswith(b"ok")


@in_loop
async def test_draining_closes_idle_connections_and_ends_others_with_their_answer(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(ok())
        await connection.read_until(b".")
        await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            idle_reader, _ = await edge.connect()
            reader, writer = await edge.connect()
            writer.write(GET)
            await reader.readuntil(b"ok")
            busy_reader, busy_writer = await edge.connect()
            busy_writer.write(POST % 2 + b"a")
            await wait_for_in_loop(lambda: b"POST" in recorder.received, "the second request")
            for connection in list(edge.plane.connections):
                connection.drain()
            assert await idle_reader.read() == b""
            assert await reader.read() == b""
            busy_writer.write(b".")
            assert b"Connection: close" in await busy_reader.read()


@in_loop
async def test_connect_and_trace_are_refused(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", end=True)
            assert got.startswith(b"HTTP/1.1 405 ")
            got = await edge.send(b"TRACE / HTTP/1.1\r\nHost: a.test\r\nCookie: secret\r\n\r\n", end=True)
            assert got.startswith(b"HTTP/1.1 405 ")
            assert b"secret" not in got
            assert edge.plane.counters == {"method_refused": 2}
        assert recorder.received == b""


@in_loop
async def test_access_log_shows_what_happened(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        log = tmp_path / "access.jsonl"
        async with relay_edge(tmp_path, recorder.url, access_log={"path": str(log)}) as edge:
            await edge.send(
                b"POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nReferer: x\r\n"
                b"Content-Length: 3\r\n\r\nabc" + GET + b"GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n"
            )
            edge.plane.access_log.flush()
        first, second, third = (json.loads(line) for line in log.read_text().splitlines())
        assert {name: first[name] for name in ("kind", "client", "host", "method", "target", "protocol")} == {
            "kind": "http", "client": "127.0.0.1", "host": "a.test", "method": "POST", "target": "/a?b=c",
            "protocol": "HTTP/1.1",
        }  # fmt: skip
        assert (first["status"], first["bytes_in"], first["bytes_out"], first["upstream"]) == (200, 3, 2, recorder.url)
        assert (first["user_agent"], first["referer"]) == ("test", "x")
        assert 0 < first["upstream_duration"] <= first["duration"]
        assert (second["method"], second["bytes_in"]) == ("GET", 0)
        assert (third["status"], third["outcome"]) == (400, "space_before_colon")
        assert "method" not in third


@in_loop
async def test_a_drain_grants_a_fresh_connection_one_request_and_closes_a_used_one(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, f"http://127.0.0.1:{recorder.port}") as edge:
            request = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n"
            served, server = await edge.connect()
            server.write(request)
            await served.readuntil(b"\r\n\r\nok")
            fresh, sender = await edge.connect()
            await wait_for_in_loop(lambda: len(edge.plane.connections) == 2, "both connections")

            for connection in list(edge.plane.connections):
                connection.drain()
            sender.write(request)

            assert await asyncio.wait_for(served.read(), 60) == b""
            answer = await asyncio.wait_for(fresh.read(), 60)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer
