"""What addons and the user may do with a flow: change, answer, hold, end, send elsewhere, look at bodies."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import connection, ctx, http

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent

LAST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
EVENTS = ("requestheaders", "request", "responseheaders", "response", "error")


class Does:
    """An addon that does one thing in one event, and remembers all of them."""

    def __init__(self, event: str = "", action: Callable[[http.HTTPFlow], object] = lambda _: None) -> None:
        self.seen: list[str] = []
        self.flows: list[http.HTTPFlow] = []
        for each in EVENTS:
            setattr(self, each, lambda flow, name=each: self._happened(name, flow, action if name == event else None))

    def _happened(self, name: str, flow: http.HTTPFlow, action: Callable[[http.HTTPFlow], object] | None) -> object:
        if flow not in self.flows:
            self.flows.append(flow)
        self.seen.append(name)
        return None if action is None else action(flow)


@pytest.mark.parametrize("request_bytes", [LAST, POST])
@in_loop
async def test_events_come_in_mitmproxys_order(request_bytes: bytes, tmp_path: Path) -> None:
    addon = Does()
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            assert (await edge.send(request_bytes, server_name=SITE)).endswith(b"ok")
    assert addon.seen == ["requestheaders", "request", "responseheaders", "response"]
    (flow,) = addon.flows
    assert not flow.live
    assert flow.request.timestamp_end
    assert flow.response is not None
    assert flow.response.timestamp_end


@pytest.mark.parametrize("event", ["requestheaders", "request"])
@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_an_addon_answers_itself_even_a_request_with_a_body(event: str, is_http2: bool, tmp_path: Path) -> None:
    def answer(flow: http.HTTPFlow) -> None:
        flow.request.stream = False
        flow.response = http.Response.make(403, b"not here")

    addon = Does(event, answer)
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    response = await client.response(client.request("/", method="POST", body=b"hello"))
                    assert (response.status, bytes(response.body)) == (403, b"not here")
            else:
                answered = await edge.send(POST, server_name=SITE)
                assert answered.startswith(b"HTTP/1.1 403 ")
                assert answered.endswith(b"not here")
    assert recorder.received == b""
    assert addon.seen == ["requestheaders", "request", "responseheaders", "response"]


@in_loop
async def test_an_addons_answer_comes_before_a_body_that_waits_to_be_asked_for(tmp_path: Path) -> None:
    addon = Does("requestheaders", lambda flow: setattr(flow, "response", http.Response.make(403)))
    with Recorder(silent) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            head = POST.removesuffix(b"hello").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await edge.send(head, server_name=SITE)).startswith(b"HTTP/1.1 403 ")


@in_loop
async def test_a_whole_body_is_asked_for_where_the_client_waits_to_be_asked(tmp_path: Path) -> None:
    addon = Does("requestheaders", lambda flow: setattr(flow.request, "stream", False))
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            reader, writer = await edge.connect(SITE)
            head, _, body = POST.partition(b"\r\n\r\n")
            writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"ok")
    assert b"Expect" not in recorder.received


@pytest.mark.parametrize("is_http2", [False, True])
@pytest.mark.parametrize("event", ["requestheaders", "request", "responseheaders", "response"])
@in_loop
async def test_a_killed_flow_gets_no_answer(event: str, is_http2: bool, tmp_path: Path) -> None:
    addon = Does(event, lambda flow: flow.kill())
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    stream = client.request()
                    await client.until(lambda: client.responses[stream].is_over)
            else:
                with pytest.raises(ConnectionResetError):
                    await edge.send(LAST, server_name=SITE)
            assert edge.plane.counters["inspection_killed"] == 1
    assert (b"GET" in recorder.received) is event.startswith("response")


@in_loop
async def test_an_intercepted_flow_waits_for_the_user(tmp_path: Path) -> None:
    addon = Does("request", lambda flow: flow.intercept())
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            asking = asyncio.ensure_future(edge.send(LAST, server_name=SITE))
            await wait_for_in_loop(lambda: "request" in addon.seen, "the event")
            assert recorder.received == b""
            addon.flows[0].request.headers["X-Late"] = "1"
            addon.flows[0].resume()
            assert (await asking).endswith(b"ok")
    assert b"X-Late: 1" in recorder.received


@in_loop
async def test_a_hook_that_waits_holds_its_own_request_only(tmp_path: Path) -> None:
    may_go_on = asyncio.Event()

    async def wait(flow: http.HTTPFlow) -> None:
        if flow.request.path == "/slow":
            await may_go_on.wait()

    with Recorder(answering(ok(), ok())) as recorder:
        async with (
            inspecting_edge(tmp_path, recorder.url, Does("requestheaders", wait)) as edge,
            Http2Client(edge, SITE) as client,
        ):
            slow = client.request("/slow")
            assert (await client.get("/fast")).body == b"ok"
            may_go_on.set()
            assert (await client.response(slow)).body == b"ok"


@pytest.mark.parametrize("event", ["requestheaders", "request"])
@in_loop
async def test_a_client_that_goes_while_a_hook_waits_ends_in_one_error(event: str, tmp_path: Path) -> None:
    may_go_on = asyncio.Event()

    async def wait(_: http.HTTPFlow) -> None:
        await may_go_on.wait()

    addon = Does(event, wait)
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(LAST)
            await wait_for_in_loop(lambda: event in addon.seen, "the event")
            writer.transport.abort()
            await wait_for_in_loop(lambda: "error" in addon.seen, "the error")
            may_go_on.set()
    assert addon.seen[-1] == "error"
    assert addon.seen.count("error") == 1
    assert recorder.received == b""


@in_loop
async def test_an_addon_sends_a_request_elsewhere(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"usual"))) as usual, Recorder(answering(ok(b"other"), ok(b"other"))) as other:

        def move(flow: http.HTTPFlow) -> None:
            if flow.request.path == "/moved":
                flow.request.url = f"{other.url}/there"

        async with inspecting_edge(tmp_path, usual.url, Does("request", move)) as edge:
            assert (await edge.send(LAST, server_name=SITE)).endswith(b"usual")
            for _ in range(2):
                assert (await edge.send(LAST.replace(b"/ ", b"/moved "), server_name=SITE)).endswith(b"other")
    assert b"GET /there HTTP/1.1\r\n" in other.received
    assert len(other.connections) == 1
    assert f"host: 127.0.0.1:{other.port}\r\n".encode() in other.received.lower()


@in_loop
async def test_an_addon_changes_pieces_as_they_pass(tmp_path: Path) -> None:
    def upper(flow: http.HTTPFlow) -> None:
        flow.request.stream = bytes.upper

    async def read_whole(connection: Connection) -> None:
        await connection.read_until(b"\r\n0\r\n\r\n")
        await connection.write(ok())

    with Recorder(read_whole) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Does("requestheaders", upper)) as edge:
            reader, writer = await edge.connect(SITE)
            writer.write(POST.removesuffix(b"hello"))
            await writer.drain()
            writer.write(b"hel")
            await wait_for_in_loop(lambda: b"HEL" in recorder.received, "the first piece")
            writer.write(b"lo")
            assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"ok")
    assert b"Transfer-Encoding: chunked\r\n" in recorder.received
    assert recorder.received.endswith(b"2\r\nLO\r\n0\r\n\r\n")


@in_loop
async def test_who_wants_to_see_bodies_that_stream_does(tmp_path: Path) -> None:
    addon = Does()
    with Recorder(answering(ok(b"answer"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            ctx.options.update(store_streamed_bodies=True)
            assert (await edge.send(POST, server_name=SITE)).endswith(b"answer")
    (flow,) = addon.flows
    assert flow.response is not None
    assert (flow.request.raw_content, flow.response.raw_content) == (b"hello", b"answer")


@in_loop
async def test_a_body_that_is_asked_for_whole_is_bounded_by_mitmproxys_option(tmp_path: Path) -> None:
    addon = Does("requestheaders", lambda flow: setattr(flow.request, "stream", False))
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            ctx.options.update(body_size_limit="4")
            assert (await edge.send(POST, server_name=SITE)).startswith(b"HTTP/1.1 413 ")
    assert addon.seen == ["requestheaders", "error"]
    assert recorder.received == b""


@in_loop
async def test_a_body_that_is_asked_for_whole_is_bounded_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_addon.inspection.hooks.WHOLE_BODY_BYTES", 4)
    addon = Does("requestheaders", lambda flow: setattr(flow.request, "stream", False))
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            assert (await edge.send(POST, server_name=SITE)).startswith(b"HTTP/1.1 413 ")
    assert recorder.received == b""


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_an_addons_answer_in_place_of_an_endless_one_is_sent_at_once(is_http2: bool, tmp_path: Path) -> None:
    async def endless(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\n\r\nsecret")
        await connection.read_until(b"never")

    addon = Does("responseheaders", lambda flow: setattr(flow, "response", http.Response.make(403, b"not for you")))
    with Recorder(endless) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            if is_http2:
                async with Http2Client(edge, SITE) as client:
                    response = await client.get()
                    assert (response.status, bytes(response.body)) == (403, b"not for you")
            else:
                answered = await edge.send(LAST, server_name=SITE)
                assert answered.startswith(b"HTTP/1.1 403 ")
                assert answered.endswith(b"\r\n\r\nnot for you")
    assert addon.seen == ["requestheaders", "request", "responseheaders", "response"]


@in_loop
async def test_a_body_that_an_addon_sets_before_the_clients_has_come_takes_its_place(tmp_path: Path) -> None:
    addon = Does("requestheaders", lambda flow: setattr(flow.request, "content", b"other body"))
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            reader, writer = await edge.connect(SITE)
            writer.write(POST.removesuffix(b"hello"))
            await wait_for_in_loop(lambda: "requestheaders" in addon.seen, "the event")
            writer.write(b"hello")
            assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"ok")
    assert b"Content-Length: 10\r\n" in recorder.received
    assert recorder.received.endswith(b"\r\n\r\nother body")


@pytest.mark.parametrize("event", ["requestheaders", "request"])
@in_loop
async def test_a_request_that_an_addon_puts_in_its_place_is_sent_whole(event: str, tmp_path: Path) -> None:
    def swap(flow: http.HTTPFlow) -> None:
        host, port = flow.request.host, flow.request.port
        flow.request = http.Request.make("PUT", f"http://{host}:{port}/other", b"new", ((b"Host", b"a.test"),))

    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Does(event, swap)) as edge:
            assert (await edge.send(POST, server_name=SITE)).endswith(b"ok")
    assert recorder.received.startswith(b"PUT /other HTTP/1.1\r\n")
    assert b"ontent-length: 3\r\n" in recorder.received.lower()
    assert recorder.received.endswith(b"\r\n\r\nnew")


@in_loop
async def test_trailers_of_a_whole_request_are_sent(tmp_path: Path) -> None:
    async def read_whole(connection: Connection) -> None:
        await connection.read_until(b"X-Sum: 1\r\n\r\n")
        await connection.write(ok())

    chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    with Recorder(read_whole) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            sent = POST.replace(b"Content-Length: 5\r\n\r\nhello", chunked)
            assert (await edge.send(sent, server_name=SITE)).endswith(b"ok")
    assert b"Content-Length" not in recorder.received


@pytest.mark.parametrize("event", ["request", "response"])
@in_loop
async def test_a_message_that_can_not_be_sent_is_logged_and_refused(
    event: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(flow: http.HTTPFlow) -> None:
        message = flow.request if event == "request" else flow.response
        assert message is not None
        message.headers["X-Bad"] = "1\r\nX-More: 2"

    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Does(event, spoil)) as edge:
            assert (await edge.send(LAST, server_name=SITE)).startswith(b"HTTP/1.1 502 ")
    assert "can't be sent as an addon left it" in caplog.text
    assert b"X-More" not in recorder.received


@pytest.mark.parametrize("event", ["request", "response"])
@in_loop
async def test_a_content_that_is_not_bytes_is_refused(event: str, tmp_path: Path) -> None:
    def spoil(flow: http.HTTPFlow) -> None:
        message = flow.request if event == "request" else flow.response
        assert message is not None
        message.data.content = "text"  # type: ignore[assignment]  # the setter of `content` would refuse it

    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Does(event, spoil)) as edge:
            assert (await edge.send(LAST, server_name=SITE)).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("change", ["204", "304", "HEAD", "150"])
@in_loop
async def test_a_body_that_may_not_be_there_is_not_sent_whatever_an_addon_makes_of_the_message(
    change: str, tmp_path: Path
) -> None:
    def spoil(flow: http.HTTPFlow) -> None:
        if change == "HEAD":
            flow.request.method = "GET"
        elif flow.response is not None:
            flow.response.status_code = int(change)

    async def slowly(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoi")
        await connection.write(b"son")

    addon = Does("request" if change == "HEAD" else "responseheaders", spoil)
    with Recorder(slowly) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            request = LAST.replace(b"GET", b"HEAD") if change == "HEAD" else LAST
            got = await edge.send(request, server_name=SITE)
            assert got.startswith(
                b"HTTP/1.1 502 " if change == "150" else b"HTTP/1.1 2" if change != "304" else b"HTTP/1.1 3"
            )
            assert b"poi" not in got


@in_loop
async def test_a_flow_that_the_user_holds_is_let_go_when_its_client_has_gone(tmp_path: Path) -> None:
    addon = Does("request", lambda flow: flow.intercept())
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(LAST)
            await wait_for_in_loop(lambda: "request" in addon.seen, "the event")
            writer.transport.abort()
            await wait_for_in_loop(lambda: "error" in addon.seen, "the error")
            assert not addon.flows[0].intercepted
    assert recorder.received == b""


@in_loop
async def test_an_upstream_that_answers_early_ends_the_request(tmp_path: Path) -> None:
    addon = Does()
    with Recorder(answering(ok(b"early"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            _, writer = await edge.connect(SITE)
            writer.write(POST.removesuffix(b"hello"))
            await wait_for_in_loop(lambda: "response" in addon.seen, "the answer")
    assert addon.seen == ["requestheaders", "responseheaders", "response"]


class Clients:
    """An addon that is told of clients, and takes its time."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def client_connected(self, client: connection.Client) -> None:
        await asyncio.sleep(0)
        self.seen.append("connected")

    def requestheaders(self, _: http.HTTPFlow) -> None:
        self.seen.append("request")

    def client_disconnected(self, client: connection.Client) -> None:
        assert client.timestamp_end
        self.seen.append("disconnected")


@in_loop
async def test_a_client_is_announced_before_its_first_request_and_after_its_end(tmp_path: Path) -> None:
    addon = Clients()
    with Recorder(answering(ok(), ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, addon) as edge:
            async with Http2Client(edge, SITE) as client:
                for _ in range(2):
                    assert (await client.get()).body == b"ok"
            await wait_for_in_loop(lambda: "disconnected" in addon.seen, "the end")
    assert addon.seen == ["connected", "request", "request", "disconnected"]
