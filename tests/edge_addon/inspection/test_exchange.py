"""One inspected request: what reaches the upstream, what the edge decides before addons, whose turn it is to wait."""

import asyncio
import gc
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from mitmproxy import http

from certstore.model.settings.models import Source
from edge_addon.inspection.exchange import InspectedExchange
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspected, inspecting_edge
from tests.edge_addon.relay import test_hostile_responses as hostile_responses
from tests.edge_addon.relay.edge import CA, MAIN_HOST, entry, stands_still
from tests.edge_addon.relay.http2.client import Http2Client
from tests.edge_addon.relay.test_hostile_requests import HOSTILE
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent
from tests.ports import listening_socket

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
BODY_FAULTS = ("chunk", "trailer")


class Seen:
    """An addon that remembers what it saw."""

    def __init__(self) -> None:
        self.flows: list[http.HTTPFlow] = []

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.flows.append(flow)


async def send_body(client: Http2Client, stream: int, body: bytes) -> None:
    """As much at a time as the windows take."""
    while body:
        await client.until(lambda: client.is_closed or client.h2.local_flow_control_window(stream) > 0)
        size = min(client.h2.local_flow_control_window(stream), client.h2.max_outbound_frame_size)
        client.send_data(stream, body[:size])
        body = body[size:]
    client.send_data(stream, b"", is_end=True)


HEAD_FAULTS = {
    name: (request, status)
    for name, (request, status, cause) in HOSTILE.items()
    if not any(word in cause or word in name for word in BODY_FAULTS)
}


@pytest.mark.parametrize("name", HEAD_FAULTS)
@in_loop
async def test_what_the_fast_path_refuses_is_refused_here_and_no_addon_sends_it_on(name: str, tmp_path: Path) -> None:
    request, status = HEAD_FAULTS[name]
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, kind="http") as edge:
            response = await edge.send(request)
            assert response.startswith(b"HTTP/1.1 %d " % status), response
            assert b"\r\nConnection: close\r\n" in response
            assert response.count(b"HTTP/1.1") == 1
        assert recorder.received == b""


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_fields_of_the_hop_and_forged_ones_do_not_reach_the_upstream(is_http2: bool, tmp_path: Path) -> None:
    forged = {"x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6", "x_forwarded_for": "6.6.6.6", "x-kept": "yes"}
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    await client.get("/", *forged.items())
            else:
                fields = {**forged, "connection": "close, x-gone", "x-gone": "1", "keep-alive": "5", "proxy": "evil"}
                lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                await edge.send(f"GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n".encode(), server_name=SITE)
    received = recorder.received.lower()
    assert b"6.6.6.6" not in received
    assert b"x-kept: yes" in received
    assert b"x-forwarded-for: 127.0.0.1\r\n" in received
    assert b"x-forwarded-proto: https\r\n" in received
    assert b"host: a.test\r\n" in received
    for gone in (b"x_forwarded", b"x-gone", b"keep-alive", b"proxy:", b"connection:"):
        assert gone not in received


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_fields_of_the_upstreams_hop_do_not_reach_the_client(is_http2: bool, tmp_path: Path) -> None:
    answer = ok(b"ok", b"Keep-Alive: timeout=5", b"Connection: close, X-Gone", b"X-Gone: 1", b"X-Kept: 1")
    with Recorder(answering(answer, close=True)) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, http={"hsts": "max-age=9"}) as edge:
            fields: dict[bytes, bytes] = {}
            text = ""
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    for _ in range(2):  # and the client's connection goes on
                        fields = (await client.get()).fields
                names = {name.decode() for name in fields}
                assert fields[b"strict-transport-security"] == b"max-age=9"
            else:
                reader, writer = await edge.connect(SITE)
                for _ in range(2):
                    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                    text = (await asyncio.wait_for(reader.readuntil(b"ok"), 60)).decode().lower()
                names = {line.partition(":")[0] for line in text.split("\r\n")[1:]}
                assert "strict-transport-security: max-age=9" in text
            assert "x-kept" in names
            assert not names & {"keep-alive", "connection", "x-gone"}


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_a_host_with_another_certificate_is_misdirected(is_http2: bool, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(
            tmp_path, recorder.url, sites=[inspected(SITE), inspected("b.test"), entry("c.test", "c.test")]
        ) as edge:
            for host in ("b.test", "c.test"):
                if is_http2:
                    async with Http2Client(edge, SITE) as client:
                        assert (await client.get(authority=host)).status == 421
                        assert (await client.get()).status == 200
                else:
                    answer = await edge.send(LAST.replace(b"a.test", host.encode()), server_name=SITE)
                    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"b.test" not in recorder.received
    assert b"c.test" not in recorder.received


@in_loop
async def test_another_host_of_the_same_certificate_is_served_by_its_own_upstream(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"one"))) as one, Recorder(answering(ok(b"two"))) as two:
        on_main = [
            replace(inspected("a.test", upstream=one.url), source=Source.MAIN),
            replace(inspected("b.test", upstream=two.url), source=Source.MAIN),
            replace(entry("c.test", "c.test", upstream=two.url), source=Source.MAIN),
        ]
        async with inspecting_edge(tmp_path, "http://127.0.0.1:1", sites=on_main) as edge:
            reader, writer = await edge.connect("a.test")
            for host, body in (("a.test", b"one"), ("b.test", b"two"), ("c.test", b"two"), ("a.test", b"one")):
                writer.write(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
                await asyncio.wait_for(reader.readuntil(body), 60)
    assert b"b.test" not in one.received


@in_loop
async def test_challenges_are_answered_by_the_edge(tmp_path: Path) -> None:
    token = "a-token-of-an-order"
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            path = edge.plane.layout.challenge(token)
            assert path is not None
            path.parent.mkdir(parents=True)
            path.write_bytes(b"key-authorization")
            request = LAST.replace(b"GET /", b"GET /.well-known/acme-challenge/" + token.encode())
            assert (await edge.send(request, server_name=SITE)).endswith(b"key-authorization")
            assert b" 404 " in await edge.send(request.replace(b"a-token", b"b-token"), server_name=SITE)
    assert recorder.received == b""


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_addons_do_not_see_a_refused_request(is_http2: bool, tmp_path: Path) -> None:
    seen = Seen()
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, seen, sites=[inspected(SITE), inspected("b.test")]) as edge:
            body = b"x" * 3_000_000
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    stream = client.request("/", method="POST", authority="b.test", body=None)
                    client.send_data(stream, body[:10_000])
                    assert (await client.response(stream)).status == 421
            else:
                head = b"POST / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                assert b" 421 " in await edge.send(head + body, server_name=SITE)
    assert seen.flows == []
    assert recorder.received == b""


async def _counting(connection: Connection) -> None:
    head = await connection.read_head()
    if b"chunked" in head:
        size = len(await connection.read_until(b"\r\n0\r\n\r\n"))
    else:
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        size = 0
        while size < length:
            size += len(await connection.read())
    await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        await connection.write(b"5\r\n%05d\r\n" % (size > 1_000_000))
    await connection.write(b"0\r\n\r\n")


@pytest.mark.parametrize("framing", ["http1 length", "http1 chunked", "http2 length", "http2 open"])
@in_loop
async def test_bodies_stream_and_flows_keep_none_of_them(framing: str, tmp_path: Path) -> None:
    seen, body = Seen(), b"x" * 2_000_000
    with Recorder(_counting) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, seen) as edge:
            if framing.startswith("http2"):
                async with Http2Client(edge, SITE) as client:
                    more = (("content-length", str(len(body))),) if framing == "http2 length" else ()
                    stream = client.request("/", *more, method="POST", body=None)
                    await send_body(client, stream, body)
                    assert (await client.response(stream)).body == b"00001" * 3
            else:
                is_chunked = framing == "http1 chunked"
                framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
                field = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
                answer = await edge.send(
                    b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + field + b"\r\n\r\n" + framed,
                    server_name=SITE,
                )
                assert answer.count(b"00001") == 3
    (flow,) = seen.flows
    assert flow.response is not None
    assert not flow.request.raw_content
    assert not flow.response.raw_content


@in_loop
async def test_an_http10_client_gets_no_chunks(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with Recorder(answering(chunked)) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            answer = await edge.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", server_name=SITE)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert body == b"hello"
            assert b"chunked" not in head


class Buffering:
    """An addon that asks for whole bodies, and changes one."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        flow.request.stream = False

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = False

    def request(self, flow: http.HTTPFlow) -> None:
        flow.request.headers["X-Body"] = flow.request.text or ""

    def response(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.text = (flow.response.text or "").upper()


@in_loop
async def test_an_addon_may_ask_for_whole_bodies(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"answer"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Buffering()) as edge:
            request = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
            assert (await edge.send(request, server_name=SITE)).endswith(b"ANSWER")
    assert b"X-Body: hello\r\n" in recorder.received


class Failing:
    """An addon with a fault."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        raise ZeroDivisionError(flow.request.path)


@in_loop
async def test_a_fault_in_a_hook_is_logged_and_neither_this_nor_another_request_suffers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(answering(ok())) as recorder, caplog.at_level(logging.ERROR):
        async with inspecting_edge(tmp_path, recorder.url, Failing()) as edge:
            for _ in range(2):
                assert (await edge.send(LAST, server_name=SITE)).endswith(b"ok")
    assert sum("ZeroDivisionError" in (record.exc_text or record.getMessage()) for record in caplog.records) >= 2


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_without_an_upstream_the_page_is_ours_and_the_next_request_finds_it_back(
    is_http2: bool, tmp_path: Path
) -> None:
    with listening_socket() as reserved:
        port = reserved.getsockname()[1]
    async with inspecting_edge(tmp_path, f"http://127.0.0.1:{port}") as edge:
        if not is_http2:
            answer = await edge.send(LAST, server_name=SITE)
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"mitmproxy" not in answer
            assert b"127.0.0.1" not in answer
            return
        async with Http2Client(edge, SITE) as client:
            response = await client.get()
            assert response.status == 502
            assert b"mitmproxy" not in bytes(response.body) + response.fields.get(b"server", b"")

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ok())
                await writer.drain()
                writer.close()

            async with await asyncio.start_server(handle, "127.0.0.1", port):
                assert (await client.get()).status == 200


@in_loop
async def test_an_upstream_that_can_not_be_reached_is_passed_over(tmp_path: Path) -> None:
    with listening_socket() as reserved:
        dead = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, [dead, recorder.url]) as edge:
            for _ in range(3):
                assert (await edge.send(LAST, server_name=SITE)).endswith(b"ok")
            assert edge.plane.counters["upstream_connect_failed"] == 1


@in_loop
async def test_an_upstream_that_breaks_off_ends_in_our_page_or_in_a_cut(tmp_path: Path) -> None:
    async def breaking(connection: Connection) -> None:
        head = await connection.read_head()
        if b"/late" in head:
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        connection.reset()

    with Recorder(breaking) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            answer = await edge.send(LAST, server_name=SITE)
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"mitmproxy" not in answer
            reader, writer = await edge.connect(SITE)
            writer.write(LAST.replace(b"/ ", b"/late "))
            assert (await asyncio.wait_for(reader.readuntil(b"half"), 60)).endswith(b"\r\n\r\nhalf")
            with pytest.raises(ConnectionResetError):
                await reader.read()


@pytest.mark.parametrize(
    ("name", "more", "status"),
    [("localhost", {}, 200), ("other.test", {}, 502), ("other.test", {"name": "other.test"}, 200)],
)
@in_loop
async def test_an_https_upstream_is_verified(name: str, more: dict[str, str], status: int, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    CA.issue(name).write_to(tmp_path / "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server" / "fullchain.pem", tmp_path / "server" / "privkey.pem")
    names: list[str | None] = []
    tls.sni_callback = lambda _, server_name, __: names.append(server_name)
    with Recorder(answering(ok()), tls=tls) as recorder:
        upstream = {"url": f"https://localhost:{recorder.port}", "ca_file": "ca.pem", **more}
        async with inspecting_edge(tmp_path, [upstream]) as edge:
            assert f" {status} ".encode() in await edge.send(LAST, server_name=SITE)
    assert names == [more.get("name", "localhost")]
    assert bool(recorder.received) is (status == 200)
    assert not (Path.home() / ".mitmproxy" / "mitmproxy-ca.pem.new").exists()


@in_loop
async def test_an_https_upstream_of_an_unknown_authority_is_not_spoken_to(tmp_path: Path) -> None:
    CA.issue("localhost").write_to(tmp_path / "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server" / "fullchain.pem", tmp_path / "server" / "privkey.pem")
    with Recorder(answering(ok()), tls=tls) as recorder:
        async with inspecting_edge(tmp_path, f"https://localhost:{recorder.port}") as edge:
            assert b" 502 " in await edge.send(LAST, server_name=SITE)
    assert recorder.received == b""


@in_loop
async def test_a_client_that_goes_takes_its_request_back(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(LAST)
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the request")
            writer.transport.abort()
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream's connection")


@in_loop
async def test_access_log_has_a_line_of_the_inspected_request(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, access_log={"path": str(log)}) as edge:
            await edge.send(LAST, server_name=SITE)
            await edge.send(LAST.replace(b"a.test", MAIN_HOST.encode()), server_name=SITE)
    first, second = log.read_text().splitlines()
    assert '"status":200,"bytes_in":0,"bytes_out":2' in first
    assert '"upstream":"http://127.0.0.1' in first
    assert '"status":421' in second
    assert '"outcome":"misdirected"' in second


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - HEAD_FAULTS.keys()))
@in_loop
async def test_after_a_fault_in_a_body_nothing_more_is_taken_for_a_request(name: str, tmp_path: Path) -> None:
    request, *_ = HOSTILE[name]
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, kind="http") as edge:
            answer = await edge.send(request, end=True)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert b"/smuggled HTTP" not in recorder.received
        assert recorder.received.count(b"Host: ") <= 1


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


def alive() -> int:
    """Exchanges that were not freed."""
    return sum(isinstance(each, InspectedExchange) for each in gc.get_objects())


@pytest.mark.slow
@in_loop
async def test_many_streams_that_are_not_read_leave_nothing_to_the_collector(tmp_path: Path) -> None:
    async def flood(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        for _ in range(100):
            if not connection.writer.is_closing():
                await connection.write(b"x" * 100_000)

    gc.collect()
    gc.disable()
    try:
        with Recorder(flood) as recorder:
            async with inspecting_edge(tmp_path, recorder.url) as edge:
                async with Http2Client(edge, SITE, reads_body=False) as client:
                    for _ in range(30):
                        client.request()
                    await wait_for_in_loop(lambda: alive() == 30, "all requests")
                await wait_for_in_loop(lambda: not alive(), "the end of them all")
                for _ in range(3):
                    await edge.send(LAST.replace(b"a.test", MAIN_HOST.encode()), server_name=SITE)
        assert not alive()
    finally:
        gc.enable()


@pytest.mark.parametrize("trailers", [b"", b"X-Sum: 1\r\n"])
@in_loop
async def test_trailers_pass_in_both_directions(trailers: bytes, tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_until(b"first\r\n0\r\n" + trailers + b"\r\n")
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await connection.write(chunked + b"4\r\nlast\r\n0\r\n" + trailers + b"\r\n")

    with Recorder(handle) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            head = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            reader, writer = await edge.connect(SITE)
            writer.write(head)
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the head")
            writer.write(b"5\r\nfirst\r\n0\r\n" + trailers + b"\r\n")
            got = await asyncio.wait_for(reader.read(), 60)
            assert b"last" in got
            assert (b"X-Sum: 1" in got) is bool(trailers)
    assert recorder.received.endswith(b"5\r\nfirst\r\n0\r\n" + trailers + b"\r\n")


@in_loop
async def test_answers_before_the_answer_pass(tmp_path: Path) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with Recorder(answering(hint + ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(LAST, server_name=SITE)
            assert got.startswith(hint + b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("name", ["length and chunked", "obs-fold", "upgrade that nobody asked for"])
@in_loop
async def test_a_hostile_response_is_refused(name: str, tmp_path: Path) -> None:
    response, cause = hostile_responses.HOSTILE[name]
    with Recorder(answering(response)) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(LAST, server_name=SITE)
            assert got.startswith(b"HTTP/1.1 502 "), got
            assert b"poison" not in got
            assert edge.plane.counters[f"upstream_{cause}"] == 1


@in_loop
async def test_an_upstream_on_a_unix_socket_is_inspected_too(tmp_path: Path) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok())
        await writer.drain()
        writer.close()

    seen, path = Seen(), tmp_path / "web.sock"
    async with await asyncio.start_unix_server(handle, path), inspecting_edge(tmp_path, f"unix:{path}", seen) as edge:
        assert (await edge.send(LAST, server_name=SITE)).endswith(b"ok")
    assert [flow.request.pretty_host for flow in seen.flows] == [SITE]
