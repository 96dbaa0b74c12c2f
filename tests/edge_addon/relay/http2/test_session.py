"""HTTP/2 through the relay: each request is an HTTP/1.1 exchange, and streams do not block each other."""

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, PingFrame, WindowUpdateFrame

from certstore.model.snapshot import SiteEntry
from edge_addon.relay.http2 import stream as stream_module
from edge_addon.relay.http2 import windows
from edge_addon.relay.http2.session import Http2Session
from tests.bench.delay import DelayingRelay
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay import edge as edge_module
from tests.edge_addon.relay.edge import Edge, entry, relay_edge, stands_still
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-From: upstream\r\n\r\nok"


def edge_for(recorder: Recorder, folder: Path, *sites: SiteEntry, **settings: object):  # type: ignore[no-untyped-def]
    return relay_edge(folder, f"http://127.0.0.1:{recorder.port}", sites=sites, kind="https", **settings)


@in_loop
async def test_a_request_reaches_the_upstream_as_http1_with_our_headers(tmp_path: Path) -> None:
    with Recorder(answering(OK)) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            response = await client.get("/page?q=1", ("cookie", "a=1"), ("cookie", "b=2"), ("accept", "*/*"))

    assert (response.status, bytes(response.body)) == (200, b"ok")
    assert response.fields[b"x-from"] == b"upstream"
    lines = recorder.connections[0].received.split(b"\r\n")
    assert lines[0] == b"GET /page?q=1 HTTP/1.1"
    assert b"Host: edge.test" in lines
    assert b"cookie: a=1; b=2" in lines
    assert b"X-Forwarded-Proto: https" in lines
    assert not [line for line in lines if line.lower().startswith((b"connection", b":"))]


@in_loop
async def test_connections_of_the_upstream_are_shared_by_the_streams(tmp_path: Path) -> None:
    with Recorder(answering(OK)) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            for _ in range(10):
                assert (await client.get()).status == 200

    assert len(recorder.connections) == 1


@in_loop
async def test_a_hundred_streams_at_once_are_answered(tmp_path: Path) -> None:
    async def echo_path(connection: Connection) -> None:
        while True:
            try:
                head = await connection.read_head()
            except EOFError:
                return
            path = head.split()[1]
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    with Recorder(echo_path) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            streams = {number: client.request(f"/{number}") for number in range(100)}
            for number, stream_id in streams.items():
                assert bytes((await client.response(stream_id)).body) == b"/%d" % number


@pytest.mark.parametrize("update_size", [1024, 4096, 16384])
@in_loop
async def test_a_long_download_to_a_client_that_acknowledges_every_piece(tmp_path: Path, update_size: int) -> None:
    """Go's client opens both windows with every 4 KB that is read, so Caddy, Traefik and rclone do."""
    size = 16_000_000

    async def send_much(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 1_000_000):
            await connection.write(bytes(1_000_000))

    with Recorder(send_much) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge, update_size=update_size) as client:
            stream_id = client.request()
            response = client.responses[stream_id]
            for part in range(0, size, size // 100):
                await client.until(lambda: len(response.body) > part or response.is_over or client.is_closed)  # noqa: B023
            await client.response(stream_id)
            assert (len(response.body), response.reset_code, client.goaway) == (size, None, None)


@pytest.mark.parametrize("length", [0, 1, 16384, 1_000_000])
@pytest.mark.parametrize("has_length", [True, False])
@in_loop
async def test_a_request_body_arrives_whole(tmp_path: Path, length: int, has_length: bool) -> None:
    digest = hashlib.sha256()

    async def read_body(connection: Connection) -> None:
        head = (await connection.read_head()).lower()
        left = length
        # A body that has come whole before addons have seen the head is sent with its length.
        may_have_length = has_length or not length or edge_module.kind_of_sites == "inspected"
        if b"transfer-encoding" not in head:
            assert may_have_length
            while left:
                data = await connection.read(left)
                digest.update(data)
                left -= len(data)
        else:
            assert b"transfer-encoding: chunked" in head
            while size := int(await connection.read_until(b"\r\n"), 16):
                while size:
                    data = await connection.read(size)
                    digest.update(data)
                    size -= len(data)
                await connection.read_until(b"\r\n")
            await connection.read_until(b"\r\n")
        await connection.write(OK)

    body = bytes(range(256)) * (length // 256 + 1)
    body = body[:length]
    with Recorder(read_body) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            more = [("content-length", str(length))] if has_length else []
            stream_id = client.request("/", *more, body=None if length else b"", method="POST")
            sent = 0
            while sent < length:
                size = min(client.h2.local_flow_control_window(stream_id), 16384, length - sent)
                if not size:
                    await client.until(lambda: client.h2.local_flow_control_window(stream_id) > 0)
                    continue
                client.send_data(stream_id, body[sent : sent + size], is_end=sent + size == length)
                sent += size
            response = await client.response(stream_id)

    assert response.status == 200
    assert digest.digest() == hashlib.sha256(body).digest()


@in_loop
async def test_a_large_response_head_arrives_whole(tmp_path: Path) -> None:
    """40 KB of fields take CONTINUATION frames."""
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 4000) for number in range(10))
    with Recorder(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok")) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            response = await client.get()

    assert (response.status, bytes(response.body)) == (200, b"ok")
    assert all(response.fields[b"x-%d" % number] == b"v" * 4000 for number in range(10))


@in_loop
async def test_requests_one_after_the_other_leave_nothing_behind(tmp_path: Path) -> None:
    """Neither streams nor deadlines add up on a long-lived connection."""
    with Recorder(answering(OK)) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            await client.get()
            timers = edge.plane.timers
            before = sum(len(slot) for slot in timers._slots.values())
            for _ in range(300):
                assert (await client.get()).status == 200
            (connection,) = edge.plane.connections
            session = connection._session

            assert isinstance(session, Http2Session)
            assert not session._framer.streams
            assert not session._framer._closed_streams
            assert sum(len(slot) for slot in timers._slots.values()) <= before + 10


@in_loop
async def test_head_204_and_304_have_no_body(tmp_path: Path) -> None:
    answers = iter(
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        )
    )

    async def answer(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(next(answers))

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            head = await client.get(method="HEAD")
            empty, unchanged = await client.get(), await client.get()

    assert (head.status, head.fields[b"content-length"], bytes(head.body)) == (200, b"1000", b"")
    assert (empty.status, unchanged.status) == (204, 304)


@in_loop
async def test_trailers_pass_both_ways(tmp_path: Path) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_until(b"x-sum: 1\r\n\r\n")
        await connection.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Digest\r\n\r\n"
            b"2\r\nok\r\n0\r\nX-Digest: d\r\n\r\n"
        )

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            stream_id = client.request("/", ("te", "trailers"), body=None, method="POST")
            client.send_data(stream_id, b"body")
            client.h2.send_headers(stream_id, [(b"x-sum", b"1")], end_stream=True)
            client.flush()
            response = await client.response(stream_id)

    assert bytes(response.body) == b"ok"
    assert response.trailers == {b"x-digest": b"d"}
    assert b"TE: trailers" in recorder.connections[0].received


@in_loop
async def test_expect_and_100_continue_are_passed_on(tmp_path: Path) -> None:
    async def answer(connection: Connection) -> None:
        assert b"Expect: 100-continue" in await connection.read_head()
        await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read(4)
        await connection.write(OK)

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            more = (("content-length", "4"), ("expect", "100-continue"))
            stream_id = client.request("/", *more, body=None, method="PUT")
            await client.until(lambda: client.responses[stream_id].informational == [b"100"])
            client.send_data(stream_id, b"body", is_end=True)
            response = await client.response(stream_id)

    assert response.status == 200


@in_loop
async def test_an_early_response_ends_the_upload_with_no_error(tmp_path: Path) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.finish()

    with Recorder(refuse) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            stream_id = client.request(body=None, method="POST")
            client.send_data(stream_id, b"part")
            await client.until(lambda: client.responses[stream_id].reset_code is not None)
            response = client.responses[stream_id]
            again = client.request(body=b"", method="GET")
            await client.response(again)

    assert (response.status, response.is_ended, response.reset_code) == (413, True, 0)
    assert not client.is_closed or client.goaway is None


@in_loop
async def test_a_reader_that_stands_still_blocks_no_other_stream_and_takes_no_memory(tmp_path: Path) -> None:
    """With a response of 50 MB that nobody reads, the upstream has to wait and the other streams go on."""
    sent = 0

    async def answer(connection: Connection) -> None:
        nonlocal sent
        while True:
            try:
                head = await connection.read_head()
            except EOFError:
                return
            if b"/large" not in head:
                await connection.write(OK)
                continue
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
            for _ in range(500):
                await connection.write(b"x" * 100_000)
                sent += 100_000

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge, reads_body=False) as client:
            large = client.request("/large")
            await client.until(lambda: len(client.responses[large].body) >= 65535)
            await stands_still(lambda: sent)
            client.h2.increment_flow_control_window(1_000_000)  # of the connection; the stream's stays closed
            client.flush()
            for _ in range(20):
                assert bytes((await client.get("/small")).body) == b"ok"

            assert sent < 8_000_000, "the rest waits in the upstream's own buffers"
            assert len(client.responses[large].body) == 65535


@in_loop
async def test_an_upload_that_stands_still_blocks_no_other_one(tmp_path: Path) -> None:
    release = threading.Event()  # the upstream runs in another loop
    taken = bytearray()

    async def answer(connection: Connection) -> None:
        head = await connection.read_head()
        if b"/stuck" in head:
            await asyncio.to_thread(release.wait)
            await connection.read_to_end()
            return
        while len(taken) < 400_000:
            taken.extend(await connection.read())
        await connection.write(OK)

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            stuck = client.request("/stuck", ("content-length", "100000000"), body=None, method="POST")

            def send_all(stream_id: int) -> int:
                size = min(client.h2.local_flow_control_window(stream_id), 16384)
                if size:
                    client.send_data(stream_id, bytes(size))
                return size

            total = 0
            idle = 0
            while idle < 20:  # until its window has stayed closed for a while
                size = send_all(stuck)
                total += size
                idle = 0 if size else idle + 1
                await asyncio.sleep(0 if size else 0.02)
            other = client.request("/other", ("content-length", "400000"), body=None, method="POST")
            left = 400_000
            while left:
                size = min(client.h2.local_flow_control_window(other), 16384, left)
                if size:
                    left -= size
                    client.send_data(other, bytes(size), is_end=not left)
                else:
                    await client.until(lambda: client.h2.local_flow_control_window(other) > 0)
            response = await client.response(other)
            release.set()

    assert response.status == 200
    assert total < 20_000_000, "the edge holds little of an upload that is not taken"


@in_loop
async def test_a_reset_by_the_client_ends_only_its_exchange(tmp_path: Path) -> None:
    async def answer(connection: Connection) -> None:
        if b"/hang" in await connection.read_head():
            await connection.read_to_end()
        else:
            await connection.write(OK)

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            hanging = client.request("/hang")
            await wait_for_in_loop(lambda: recorder.connections and recorder.connections[0].received, "the request")
            client.h2.reset_stream(hanging, 8)
            client.flush()
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the upstream hears that it is over")

            assert (await client.get("/other")).status == 200


@in_loop
async def test_an_upstream_that_fails_affects_only_its_stream(tmp_path: Path) -> None:
    async def answer(connection: Connection) -> None:
        head = await connection.read_head()
        if b"/cut" in head:
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            connection.finish()
        elif b"/bad" in head:
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
        else:
            await connection.write(OK)

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            cut, bad, good = await client.get("/cut"), await client.get("/bad"), await client.get("/good")

    assert (cut.status, cut.is_ended, cut.reset_code) == (200, False, 2)
    assert bad.status == 502
    assert good.status == 200


@in_loop
async def test_a_request_for_another_certificates_host_is_misdirected(tmp_path: Path) -> None:
    with Recorder(answering(OK)) as recorder:
        a, b = entry("a.test", "a.test", "www.a.test"), entry("b.test", "b.test")
        async with edge_for(recorder, tmp_path, a, b) as edge, Http2Client(edge, "a.test") as client:
            own, alias = await client.get(), await client.get(authority="www.a.test")
            other, main = await client.get(authority="b.test"), await client.get(authority="edge.test")

    assert (own.status, alias.status, other.status, main.status) == (200, 200, 421, 421)
    assert recorder.connections[0].received.count(b"GET ") == 2


@in_loop
async def test_drain_finishes_requests_under_way_and_refuses_new_ones(tmp_path: Path) -> None:
    go_on = threading.Event()

    async def answer(connection: Connection) -> None:
        await connection.read_head()
        await asyncio.to_thread(go_on.wait)
        await connection.write(OK)

    with Recorder(answer) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            under_way = client.request("/slow")
            await wait_for_in_loop(lambda: recorder.connections, "the request")
            for connection in list(edge.plane.connections):
                connection.drain()
            await client.until(lambda: client.goaway is not None)
            go_on.set()
            response = await client.response(under_way)
            await client.closed()

    assert (response.status, client.goaway) == (200, 0)


@in_loop
async def test_an_idle_connection_is_drained_at_once(tmp_path: Path) -> None:
    with Recorder(answering(OK)) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            assert (await client.get()).status == 200
            for connection in list(edge.plane.connections):
                connection.drain()

            assert await client.closed() == 0


def websocket_upstream(accept: bytes | None = None):  # type: ignore[no-untyped-def]
    async def answer(connection: Connection) -> None:
        head = await connection.read_head()
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        await connection.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: %b\r\n\r\nhello"
            % (accept or base64.b64encode(digest))
        )
        while data := await connection.read():
            await connection.write(data.upper())

    return answer


@in_loop
async def test_a_websocket_opens_by_extended_connect_and_passes_bytes_both_ways(tmp_path: Path) -> None:
    with Recorder(websocket_upstream()) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            await client.until(lambda: client.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1)
            stream_id = client.request("/chat", body=None, method="CONNECT", protocol="websocket")
            response = client.responses[stream_id]
            await client.until(lambda: response.body == b"hello")
            for number in range(100):
                message = b"message %02d;" % number
                client.send_data(stream_id, message)
                await client.until(lambda last=message.upper(): response.body.endswith(last))  # type: ignore[misc]
            client.send_data(stream_id, b"", is_end=True)
            await client.response(stream_id)

    assert response.status == 200
    assert response.is_ended
    assert b"MESSAGE 99;" in response.body
    assert b"sec-websocket-accept" not in response.fields
    assert response.fields[b"sec-websocket-protocol"] == b"chat"
    head = bytes(recorder.connections[0].received).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"GET /chat HTTP/1.1\r\n")
    assert b"Upgrade: websocket" in head


@in_loop
async def test_a_websocket_answer_that_does_not_fit_the_key_is_refused(tmp_path: Path) -> None:
    with Recorder(websocket_upstream(b"d3Jvbmc=")) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            stream_id = client.request("/chat", body=None, method="CONNECT", protocol="websocket")

            assert (await client.response(stream_id)).status == 502


@in_loop
async def test_what_comes_before_the_upstream_has_agreed_is_bounded_over_all_streams(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            await client.until(lambda: client.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1)
            first, second = (client.request("/", body=None, method="CONNECT", protocol="websocket") for _ in range(2))
            for stream_id in (first, second, first, second):
                client.send_data(stream_id, bytes(16384))
            client.send_data(second, b"x")
            assert (await client.response(second)).reset_code == 0xB
            assert not client.responses[first].is_over
            client.send_data(first, bytes(16384))  # the bytes of the other one no longer count
            (session,) = (connection._session for connection in connections_of(edge.plane))
            assert isinstance(session, Http2Session)
            await wait_for_in_loop(lambda: session._early == 3 * 16384, "what waits")
            assert edge.plane.counters["http2_early_data"] == 1
            client.h2.reset_stream(first)
            client.flush()
            await wait_for_in_loop(lambda: not session._early, "nothing that waits")


@in_loop
async def test_an_upstream_has_a_minute_to_agree_to_a_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "UPGRADE_SECONDS", 1)
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, Http2Client(edge) as client:
            stream_id = client.request("/", body=None, method="CONNECT", protocol="websocket")
            client.send_data(stream_id, b"early")
            assert (await client.response(stream_id)).status == 504


@in_loop
async def test_an_idle_http2_connection_is_closed_in_time(tmp_path: Path) -> None:
    with Recorder(answering(OK)) as recorder:
        async with edge_for(recorder, tmp_path, limits={"idle_seconds": 1, "head_seconds": 1}) as edge:
            async with Http2Client(edge) as client:
                assert (await client.get()).status == 200
                assert await client.closed() == 0
            async with Http2Client(edge) as silent:
                assert await silent.closed() == 0


@in_loop
async def test_a_connection_that_we_end_is_named_as_ended_by_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "access.log"
    with Recorder(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf")) as recorder:
        async with edge_for(recorder, tmp_path, access_log={"path": str(log), "format": "json"}) as edge:
            for _ in range(2):
                async with Http2Client(edge) as client:
                    stream_id = client.request()
                    await client.until(lambda: client.responses[stream_id].body == b"half")  # noqa: B023
                    client.send_frames(PingFrame(0, opaque_data=bytes(8)).serialize() * 1000)
                    assert await client.closed() == ErrorCodes.ENHANCE_YOUR_CALM
            edge.plane.access_log.flush()
            assert edge.plane.counters["client_gone"] == 0
    outcomes = [json.loads(line)["outcome"] for line in log.read_text().splitlines()]
    assert outcomes == ["http2_flood_control_frames"] * 2
    told = [record.message for record in caplog.records if "http2_flood_control_frames" in record.message]
    assert len(told) == 1
    assert "127.0.0.1" in told[0]


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        pytest.param(
            WindowUpdateFrame(1, window_increment=2**31 - 1), "http2_flow_control_error", id="a window too large"
        ),
        pytest.param(DataFrame(1, b"more"), "http2_stream_closed", id="a body after its end"),
    ],
)
@in_loop
async def test_a_stream_that_we_reset_is_named_as_reset_by_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, frame: Frame, cause: str
) -> None:
    log = tmp_path / "access.log"
    with Recorder(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf")) as recorder:
        async with edge_for(recorder, tmp_path, access_log={"path": str(log), "format": "json"}) as edge:
            for _ in range(2):
                async with Http2Client(edge) as client:
                    stream_id = client.request()
                    await client.until(lambda: client.responses[stream_id].body == b"half")  # noqa: B023
                    client.send_frames(frame)
                    assert (await client.response(stream_id)).reset_code is not None
            edge.plane.access_log.flush()
            assert edge.plane.counters[cause] == 2
            assert edge.plane.counters["client_gone"] == 0
    assert [json.loads(line)["outcome"] for line in log.read_text().splitlines()] == [cause] * 2
    assert len([record for record in caplog.records if cause in record.message]) == 1


async def send_until(client: Http2Client, stream_id: int, is_enough: Callable[[], bool]) -> None:
    """Send on a stream what its windows allow, until that is enough; then end it."""
    while not is_enough():
        size = client.h2.local_flow_control_window(stream_id)
        if size:
            for _ in range(0, size, 16384):
                left = client.h2.local_flow_control_window(stream_id)
                client.h2.send_data(stream_id, bytes(min(left, 16384)))
            client.flush()
        else:
            await client.until(lambda: client.h2.local_flow_control_window(stream_id) > 0 or client.is_closed)
    client.send_data(stream_id, b"", is_end=True)


@in_loop
async def test_the_window_of_an_upload_over_a_long_line_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 256 KB for each round trip, 60 MB over 60 ms took 17 seconds."""
    monkeypatch.setattr(windows, "GROW_SECONDS", 60.0)  # the test must not depend on the pace of the machine
    sizes: list[int] = []

    async def take_all(connection: Connection) -> None:
        await connection.read_head()
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest = rest[-4:] + await connection.read()
        await connection.write(OK)

    with Recorder(take_all) as recorder:
        async with edge_for(recorder, tmp_path) as edge:
            with DelayingRelay(edge.port, seconds=0.02) as line:
                async with Http2Client(replace(edge, port=line.port)) as client:
                    stream_id = client.request(body=None, method="POST")

                    def is_large() -> bool:
                        sizes.append(client.h2.local_flow_control_window(stream_id))
                        return sizes[-1] >= windows.LARGEST_STREAM_WINDOW // 2

                    await send_until(client, stream_id, is_large)
                    assert (await client.response(stream_id)).status == 200
                    assert edge.plane.bounds.uploads.lent <= windows.LARGEST_STREAM_WINDOW
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
            assert edge.plane.bounds.uploads.lent == 0
    assert sizes[0] <= windows.STREAM_WINDOW


@in_loop
async def test_uploads_that_no_upstream_takes_hold_no_more_than_the_worker_lends(tmp_path: Path) -> None:
    """Four connections with six streams each, which send all that they may."""
    lendable = 2**19

    async def take_nothing(connection: Connection) -> None:
        await connection.read_head()
        await asyncio.Event().wait()

    def held(edge: Edge) -> int:
        sessions = [each._session for each in connections_of(edge.plane)]
        return sum(
            stream._upload._held
            for session in sessions
            if isinstance(session, Http2Session)
            for stream in session._streams.values()
            if stream._upload is not None
        )

    async def send_all(client: Http2Client) -> None:
        streams = [client.request(body=None, method="POST") for _ in range(6)]
        while True:
            for stream_id in streams:
                while size := min(client.h2.local_flow_control_window(stream_id), 16384):
                    client.h2.send_data(stream_id, bytes(size))
            client.flush()
            client._changed.clear()
            await client._changed.wait()

    with Recorder(take_nothing) as recorder:
        async with edge_for(recorder, tmp_path) as edge, AsyncExitStack() as stack:
            edge.plane.bounds.uploads.most = lendable
            clients = [await stack.enter_async_context(Http2Client(edge)) for _ in range(4)]
            tasks = [asyncio.create_task(send_all(client)) for client in clients]
            try:
                await edge.counted("upload_memory_exceeded")
                await stands_still(lambda: held(edge), 1.0)
                assert held(edge) <= 4 * windows.CONNECTION_WINDOW + lendable
                assert edge.plane.bounds.uploads.lent <= lendable
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
