"""The inspection of a worker: what addons learn of clients, that no request gets round it, how connections end."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from mitmproxy import connection, http

from certstore.model.settings.models import Source
from certstore.model.snapshot import SiteEntry
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspected, inspecting_edge
from tests.edge_addon.planes import inspector_of
from tests.edge_addon.relay.edge import CA, MAIN_HOST, entry
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok, silent

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
            tmp_path, recorder.url, seen, listener={"accept_proxy_protocol": True}, trusted_proxies=["127.0.0.1"]
        ) as edge:
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
            await writer.start_tls(ssl.create_default_context(cadata=CA.root_pem.decode()), server_hostname=SITE)
            edge.writers.append(writer)
            writer.write(LAST)
            await wait_for_in_loop(lambda: seen.clients, "a client")
    client = seen.clients[0]
    assert (client.peername, client.sockname) == (("192.0.2.7", 4711), ("192.0.2.1", 443))
    assert (client.sni, client.alpn, client.tls_version) == (SITE, b"http/1.1", "TLSv1.3")
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
            answer = await asyncio.wait_for(reader.read(), 60)
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
            assert await asyncio.wait_for(reader.read(), 60) == b""


class Marking:
    """An addon that marks what it saw."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        flow.request.headers["X-Seen"] = flow.request.pretty_host


def on_main(site: str, *, is_inspected: bool) -> SiteEntry:
    """A site that uses the main certificate: any connection to main may carry requests for it."""
    return replace(inspected(site) if is_inspected else entry(site, site), source=Source.MAIN)


def get(host: str, path: str = "/", *, last: bool = False) -> bytes:
    ending = "Connection: close\r\n" if last else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{ending}\r\n".encode()


NAMES = ("seen.test", "plain.test")
SITES = (on_main("seen.test", is_inspected=True), on_main("plain.test", is_inspected=False))


@pytest.mark.parametrize("server_name", [None, "", MAIN_HOST, "plain.test", "seen.test"])
@in_loop
async def test_a_request_is_inspected_whatever_connection_it_comes_on(server_name: str | None, tmp_path: Path) -> None:
    """In clear text, without SNI, and by a name that is not inspected."""
    kind = "http" if server_name is None else "https"
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, kind=kind) as edge:
            reader, writer = await edge.connect(server_name)
            for request in (get("plain.test", "/1"), get("seen.test", "/2"), get("seen.test", "/3")):
                writer.write(request)
                await asyncio.wait_for(reader.readuntil(b"ok"), 60)
    heads = recorder.received.split(b"\r\n\r\n")
    by_path = {head.split(b" ")[1]: b"X-Seen" in head for head in heads if head}
    assert by_path == {b"/1": False, b"/2": True, b"/3": True}


@in_loop
async def test_what_was_sent_ahead_and_bodies_go_along(tmp_path: Path) -> None:
    body = b"POST /2 HTTP/1.1\r\nHost: seen.test\r\nContent-Length: 5\r\n\r\nhello"
    with Recorder(answering(ok(b"1"), ok(b"2"), ok(b"3"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, kind="http") as edge:
            answer = await edge.send(get("plain.test", "/1") + body + get("plain.test", "/3", last=True), end=False)
            assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b"hello" in recorder.received


@in_loop
async def test_http2_streams_of_inspected_and_other_sites_share_a_connection(tmp_path: Path) -> None:
    with Recorder(answering(ok(), ok(), ok())) as recorder:
        async with (
            inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, main_covers=NAMES) as edge,
            Http2Client(edge, "plain.test") as client,
        ):
            for site in ("plain.test", "seen.test", "plain.test"):
                assert (await client.get(authority=site)).status == 200
    assert recorder.received.count(b"X-Seen: seen.test") == 1


@in_loop
async def test_a_redirect_to_https_needs_no_inspection(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, sites=SITES, kind="http", http={}) as edge:
            assert b" 301 " in await edge.send(get("seen.test", last=True))
            assert not inspector_of(edge.plane).connections


@pytest.mark.parametrize("is_http2", [False, True])
@in_loop
async def test_without_its_scripts_an_inspected_site_is_not_served_and_others_are(
    is_http2: bool, tmp_path: Path
) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, sites=SITES, main_covers=NAMES, may_inspect=False) as edge:
            for site, status in (("seen.test", 503), ("plain.test", 200)):
                if is_http2:
                    async with Http2Client(edge, site) as client:
                        assert (await client.get()).status == status
                else:
                    answer = await edge.send(get(site, last=True), server_name=site)
                    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"seen.test" not in recorder.received
