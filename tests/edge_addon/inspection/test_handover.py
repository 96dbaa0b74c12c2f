"""No request gets round the inspection of its site, whatever connection it comes on."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from mitmproxy import http

from certstore.model.settings.models import Source
from certstore.model.snapshot import SiteEntry
from tests.edge_addon.inspection.edge import inspected, inspecting_edge
from tests.edge_addon.planes import inspector_of
from tests.edge_addon.relay.edge import MAIN_HOST, entry
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok


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
async def test_http1_is_handed_over_with_the_first_request_that_needs_it(
    server_name: str | None, tmp_path: Path
) -> None:
    """In clear text, without SNI, and by a name that is not inspected."""
    kind = "http" if server_name is None else "https"
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, kind=kind) as edge:
            reader, writer = await edge.connect(server_name)
            for request in (get("plain.test", "/1"), get("seen.test", "/2"), get("seen.test", "/3")):
                writer.write(request)
                await asyncio.wait_for(reader.readuntil(b"ok"), 20)
    heads = recorder.received.split(b"\r\n\r\n")
    by_path = {head.split(b" ")[1]: b"X-Seen" in head for head in heads if head}
    assert by_path == {b"/1": server_name == "seen.test", b"/2": True, b"/3": True}


@in_loop
async def test_what_was_sent_ahead_and_bodies_go_along(tmp_path: Path) -> None:
    body = b"POST /2 HTTP/1.1\r\nHost: seen.test\r\nContent-Length: 5\r\n\r\nhello"
    with Recorder(answering(ok(b"1"), ok(b"2"), ok(b"3"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, kind="http") as edge:
            answer = await edge.send(get("plain.test", "/1") + body + get("plain.test", "/3", last=True), end=False)
            assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert b"hello" in recorder.received


@in_loop
async def test_http2_is_told_to_come_again_by_the_sites_name(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, Marking(), sites=SITES, main_covers=NAMES) as edge:
            async with Http2Client(edge, "plain.test") as client:
                assert (await client.get(authority="seen.test")).status == 421
                assert (await client.get()).status == 200
            assert edge.plane.counters["inspected_elsewhere"] == 1
            async with Http2Client(edge, "seen.test") as client:
                assert (await client.get("/again")).status == 200
    assert recorder.received.count(b"X-Seen: seen.test") == 1


@in_loop
async def test_a_redirect_to_https_needs_no_inspection(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, sites=SITES, kind="http", http={}) as edge:
            assert b" 301 " in await edge.send(get("seen.test", last=True))
            assert inspector_of(edge.plane).running == 0


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


@in_loop
async def test_a_half_closed_client_in_clear_text_is_handed_over_too(tmp_path: Path) -> None:
    """mitmproxy takes it for gone: it gets no answer, and nothing is left behind."""
    with Recorder(answering(ok())) as recorder:
        async with inspecting_edge(tmp_path, recorder.url, sites=SITES, kind="http") as edge:
            await edge.send(get("seen.test"), end=True)
