"""`http.headers` and `http.hsts` through a running edge: on every answer over https, on none in clear text."""

import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.edge_addon.inspection.edge import inspecting_edge
from tests.edge_addon.relay.edge import CA, MAIN_HOST, Edge, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.edge_addon.relay.test_tunnel import echo_server
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok

HEADERS = {"X-Frame-Options": "SAMEORIGIN", "server": "edge"}
HTTP = {"hsts": "max-age=9", "headers": HEADERS, "redirect_to_https": False}
OURS = {b"strict-transport-security": b"max-age=9", b"x-frame-options": b"SAMEORIGIN", b"server": b"edge"}
THEIRS = (b"X-FRAME-OPTIONS: DENY", b"x-frame-options: DENY", b"Server: theirs", b"X-Kept: 1")


def ask(host: str, target: str = "/", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def pairs_of(answer: bytes) -> list[tuple[bytes, bytes]]:
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    split = [line.partition(b": ") for line in lines]
    return [(name.lower(), value) for name, _, value in split]


def assert_ours(pairs: list[tuple[bytes, bytes]]) -> None:
    """Each of our fields is there once, and nothing else under its name."""
    assert sorted(pair for pair in pairs if pair[0] in OURS) == sorted(OURS.items())


ASKED = {
    "a relayed answer": (200, "/", "GET"),
    "a relayed answer to HEAD": (200, "/", "HEAD"),
    "a page of our own": (405, "/", "TRACE"),
    "an unknown challenge": (404, "/.well-known/acme-challenge/" + "a" * 43, "GET"),
}


@pytest.mark.parametrize(("status", "target", "method"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("is_inspected", [False, True], ids=["relayed", "inspected"])
@in_loop
async def test_every_https_answer_has_them_in_place_of_the_upstreams(
    status: int, target: str, method: str, is_inspected: bool, tmp_path: Path
) -> None:
    async def check(edge: Edge, host: str) -> None:
        answer = await edge.send(ask(host, target, method), server_name=host)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert_ours(pairs_of(answer))
        assert (b"\r\nX-Kept: 1" in answer) is (status == 200)
        async with Http2Client(edge, host) as client:
            response = await client.get(target, method=method)
            assert response.status == status
            assert_ours(response.pairs)

    with Recorder(answering(ok(b"" if method == "HEAD" else b"ok", *THEIRS))) as recorder:
        if is_inspected:
            async with inspecting_edge(tmp_path, recorder.url, http=HTTP) as edge:
                await check(edge, "a.test")
        else:
            async with relay_edge(tmp_path, recorder.url, kind="https", http=HTTP) as edge:
                await check(edge, MAIN_HOST)


@in_loop
async def test_refusals_have_them_too(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, "http://127.0.0.1:1", kind="https", http=HTTP) as edge:
        answer = await edge.send(b"GET / HTTP/1.1\r\n\r\n", server_name=MAIN_HOST)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert_ours(pairs_of(answer))
        assert_ours(pairs_of(await edge.send(ask(MAIN_HOST), server_name=MAIN_HOST)))
        async with Http2Client(edge) as client:
            malformed = await client.get("/", ("connection", "close"))
            assert malformed.status == 400
            assert_ours(malformed.pairs)
            unreachable = await client.get()
            assert unreachable.status == 502
            assert_ours(unreachable.pairs)


@in_loop
async def test_an_accepted_websocket_has_them(tmp_path: Path) -> None:
    async with echo_server() as upstream, relay_edge(tmp_path, upstream, kind="https", http=HTTP) as edge:
        tls = ssl.create_default_context(cadata=CA.root_pem.decode())
        async with connect(f"wss://{MAIN_HOST}:{edge.port}/", host="127.0.0.1", ssl=tls) as socket:
            assert socket.response is not None
            assert_ours(
                [(name.lower().encode(), value.encode()) for name, value in socket.response.headers.raw_items()]
            )
        async with Http2Client(edge) as client:
            version = ("sec-websocket-version", "13")
            stream = client.request("/", version, body=None, method="CONNECT", protocol="websocket")
            await client.until(lambda: client.responses[stream].pairs)
            assert client.responses[stream].status == 200
            assert_ours(client.responses[stream].pairs)


@in_loop
async def test_clear_text_has_none_of_them_and_keeps_the_upstreams(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"ok", *THEIRS))) as recorder:
        async with relay_edge(tmp_path, recorder.url, http=HTTP) as edge:
            pairs = pairs_of(await edge.send(ask(MAIN_HOST)))
            assert [value for name, value in pairs if name in OURS] == [b"DENY", b"DENY", b"theirs"]
            assert not OURS.keys() & dict(pairs_of(await edge.send(ask(MAIN_HOST, "/", "TRACE")))).keys()
        async with relay_edge(tmp_path, recorder.url, http=HTTP | {"redirect_to_https": True}) as edge:
            answer = await edge.send(ask(MAIN_HOST))
            assert answer.startswith(b"HTTP/1.1 301 ")
            assert not OURS.keys() & dict(pairs_of(answer)).keys()


@in_loop
async def test_without_them_the_upstreams_fields_reach_the_client_as_they_are(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"ok", *THEIRS))) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https") as edge:
            assert b"\r\n".join(THEIRS) in await edge.send(ask(MAIN_HOST), server_name=MAIN_HOST)
