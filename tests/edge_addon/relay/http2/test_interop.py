"""HTTP/2 of `certedge run` with other programs: curl, nghttp, h2load, Chromium; WebSocket over h1 and h2."""

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import CA, main_site
from tests.edge_addon.relay.http2.raw import (
    DATA,
    END_HEADERS,
    HEADERS,
    NO_ERROR,
    START,
    RawHttp2,
    frame,
    head,
    settings,
    window_update,
)  # fmt: skip
from tests.loops import in_loop
from tests.peers import require_peer
from tests.peers.recorder import Connection, Recorder, ok
from tests.running import MAIN_HOST, RunningEdge, running_edge

LARGE = bytes(range(256)) * 80_000


async def upstream(connection: Connection) -> None:
    """Answer GET /large with 20 MB, POST with the digest of its body, and others with method and target."""
    while True:
        request = await connection.read_head()
        line = request.partition(b"\r\n")[0]
        length = re.search(rb"(?i)content-length: (\d+)", request)
        if line.startswith(b"POST"):
            digest = hashlib.sha256()
            left = int(length[1]) if length else 0
            while left:
                data = await connection.read(min(left, 65536))
                digest.update(data)
                left -= len(data)
            await connection.write(ok(digest.hexdigest().encode()))
        elif b" /large " in line:
            await connection.write(ok(LARGE))
        elif line.startswith(b"HEAD"):
            await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        else:
            await connection.write(ok(line))


@pytest.fixture(scope="module")
def edge(site_kind: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with Recorder(upstream) as recorder:
        whole = {"listeners": [{"kind": "https"}], "upstream": recorder.url}
        with running_edge(tmp_path_factory.mktemp("edge"), whole, {"main": main_site()}) as running:
            yield running


def run(*command: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


class Curl:
    """Run curl, with HTTP/2 required and the certificate verified."""

    def __init__(self, edge: RunningEdge, folder: Path) -> None:
        ca = folder / "ca.pem"
        ca.write_bytes(CA.root_pem)
        port = edge.port("https")
        self.base = f"https://{MAIN_HOST}:{port}"
        self._command = [
            str(require_peer("curl")), "-sS", "--http2", "--cacert", str(ca),
            "--resolve", f"{MAIN_HOST}:{port}:127.0.0.1",
        ]  # fmt: skip

    def __call__(self, *arguments: str, data: bytes | None = None) -> bytes:
        return run(*self._command, *arguments, data=data)


def test_curl_speaks_http2_and_gets_its_answer(edge: RunningEdge, tmp_path: Path) -> None:
    curl = Curl(edge, tmp_path)
    assert curl("-w", " %{http_version}", curl.base + "/page?q=1") == b"GET /page?q=1 HTTP/1.1 2"


def test_curl_downloads_and_uploads_files_unchanged(edge: RunningEdge, tmp_path: Path) -> None:
    curl = Curl(edge, tmp_path)
    assert hashlib.sha256(curl(curl.base + "/large")).digest() == hashlib.sha256(LARGE).digest()
    sent = curl("--data-binary", "@-", "-H", "Expect:", curl.base + "/", data=LARGE)
    assert sent == hashlib.sha256(LARGE).hexdigest().encode()


def test_curl_sends_heads_and_many_requests_on_one_connection(edge: RunningEdge, tmp_path: Path) -> None:
    curl = Curl(edge, tmp_path)
    assert b"content-length: 1234" in curl("-I", curl.base + "/")
    out = curl("-Z", "--parallel-max", "50", "-w", "%{http_version} %{num_connects}\n", "-o", "/dev/null",
               curl.base + "/[1-100]")  # fmt: skip
    lines = out.decode().split("\n")[:-1]
    assert len(lines) == 100
    assert {line.split()[0] for line in lines} == {"2"}
    assert sum(int(line.split()[1]) for line in lines) < 10


def test_nghttp_finds_nothing_to_complain_about(edge: RunningEdge, tmp_path: Path) -> None:
    nghttp = str(require_peer("nghttp"))
    upload = tmp_path / "upload"
    upload.write_bytes(LARGE)
    url = f"https://127.0.0.1:{edge.port('https')}/"
    out = run(nghttp, "-v", "-m", "20", "--no-dep", url, url + "2", url + "3")
    assert out.count(b":status: 200") == 60
    assert b"INTERNAL" not in out
    assert b"PROTOCOL_ERROR" not in out
    sent = run(nghttp, "-d", str(upload), "-H", ":method: POST", url)
    assert hashlib.sha256(LARGE).hexdigest().encode() in sent
    fetched = run(nghttp, "-w", "16", "-W", "16", url + "large")  # windows of 65,535
    assert hashlib.sha256(fetched).digest() == hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize("table", ["0", "4096", "65536"])
def test_nghttp_agrees_about_tables_of_any_size(edge: RunningEdge, table: str) -> None:
    out = run(str(require_peer("nghttp")), "-v", "-c", table, f"https://127.0.0.1:{edge.port('https')}/")
    assert b":status: 200" in out


def test_h2load_gets_every_answer(edge: RunningEdge) -> None:
    out = run(
        str(require_peer("h2load")), "-n", "3000", "-c", "5", "-m", "32", f"https://127.0.0.1:{edge.port('https')}/"
    )
    assert b"3000 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert b"Application protocol: h2" in out


PAGE = b"""<!doctype html><title>edge</title><script>
(async () => {
  const bodies = await Promise.all([...Array(50).keys()].map(n => fetch("/n" + n).then(r => r.text())));
  const protocols = performance.getEntriesByType("resource").map(e => e.nextHopProtocol);
  const socket = new WebSocket("wss://" + location.host + "/ws");
  let echoed = 0;
  socket.onmessage = event => {
    echoed += event.data === "message " + echoed;
    if (echoed === 1000) socket.send("result " + JSON.stringify({bodies, protocols, echoed}));
    else socket.send("message " + echoed);
  };
  socket.onopen = () => socket.send("message 0");
})();
</script>"""


@contextlib.asynccontextmanager
async def web_server(results: list[str]) -> AsyncIterator[str]:
    """Serve a page for a browser, an echo at /ws, and a word at each other path."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        body = PAGE if request.path == "/" else request.path.encode()
        response = connection.respond(HTTPStatus.OK, "")
        response.body = body
        del response.headers["Content-Length"], response.headers["Content-Type"]
        response.headers["Content-Length"] = str(len(body))
        response.headers["Content-Type"] = "text/html"
        return response

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, str) and message.startswith("result "):
                results.append(message.removeprefix("result "))
            else:
                await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, process_request=answer, compression=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def edge_before(folder: Path, upstream_url: str, **more: Any) -> contextlib.AbstractContextManager[RunningEdge]:
    log = {"path": "access.log"}
    whole = {"listeners": [{"kind": "https"}], "upstream": upstream_url, "access_log": log, **more}
    return running_edge(folder, whole, {"main": main_site()})


@in_loop
async def test_chromium_loads_a_page_and_speaks_websocket_over_http2(tmp_path: Path) -> None:
    """50 requests and a WebSocket with 1,000 messages use one HTTP/2 connection (RFC 8441)."""
    chromium = require_peer("chromium")
    results: list[str] = []
    async with web_server(results) as url:
        with edge_before(tmp_path, url) as edge:
            browser = await asyncio.create_subprocess_exec(
                chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-proxy-server", "--ignore-certificate-errors", f"--user-data-dir={tmp_path / 'profile'}",
                f"--host-resolver-rules=MAP {MAIN_HOST} 127.0.0.1", f"https://{MAIN_HOST}:{edge.port('https')}/",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                await wait_for_in_loop(lambda: results, "the browser's result", seconds=90)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    browser.terminate()
                await browser.wait()
        lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]

    result = json.loads(results[0])
    assert result["bodies"] == [f"/n{number}" for number in range(50)]
    assert set(result["protocols"]) == {"h2"}
    assert result["echoed"] == 1000
    sockets = [line for line in lines if line["target"] == "/ws"]
    assert [(line["protocol"], line["status"]) for line in sockets] == [("HTTP/2.0", 200)]


class Http2WebSocket:
    """A WebSocket over one stream of an HTTP/2 connection, by hand: no library on PyPI speaks only RFC 8441."""

    def __init__(self, client: RawHttp2, stream: int = 1) -> None:
        self._client = client
        self._stream = stream
        self._read = 0

    async def open(self) -> None:
        version = (b"sec-websocket-version", b"13")
        opening = head(b"/ws", version, method=b"CONNECT", protocol=b"websocket")
        await self._client.send(START + settings((4, 2**30)) + window_update(2**30))
        await self._client.send(frame(HEADERS, opening, stream=self._stream, flags=END_HEADERS))
        await wait_for_in_loop(lambda: self._client.seen.heads, "the upgrade")
        assert self._client.seen.status(self._stream) == 200

    async def echo(self, text: str) -> str:
        message = Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
        await self._client.send(frame(DATA, message, stream=self._stream))
        answer = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
        end = self._read + len(answer)
        bodies = self._client.seen.bodies
        await wait_for_in_loop(lambda: len(bodies.get(self._stream, b"")) >= end, f"the echo of {text}", pause=0)
        assert bodies[self._stream][self._read : end] == answer
        self._read = end
        return text


@in_loop
async def test_websockets_over_both_versions_survive_a_workers_replacement(tmp_path: Path) -> None:
    """1,000 messages each pass while the old worker drains: after its GOAWAY, open streams stay until the deadline."""
    tls = ssl.create_default_context(cadata=CA.root_pem.decode())
    async with web_server([]) as url:
        with edge_before(tmp_path, url, limits={"drain_seconds": 3600}) as edge:
            port = edge.port("https")
            async with (
                RawHttp2(port) as client,
                connect(f"wss://{MAIN_HOST}:{port}/ws", host="127.0.0.1", ssl=tls, compression=None) as over_h1,
            ):
                over_h2 = Http2WebSocket(client)
                await over_h2.open()
                assert await over_h2.echo("before") == "before"
                old = edge.worker_pids()
                await asyncio.to_thread(edge.reload)
                await wait_for_in_loop(lambda: client.seen.goaway is not None, "GOAWAY of the old worker")
                for number in range(1000):
                    await over_h2.echo(f"message {number}")
                    await over_h1.send(f"message {number}")
                    assert await over_h1.recv() == f"message {number}"

                assert client.seen.goaway == NO_ERROR
                assert not client.seen.is_closed
                assert set(old) < set(edge.worker_pids())
            # Not when the block ends: that would stop this loop and the closing here.
            await asyncio.to_thread(edge.stop)


@in_loop
async def test_an_open_websocket_is_cut_off_only_at_the_drains_deadline(tmp_path: Path) -> None:
    async with web_server([]) as url:
        with edge_before(tmp_path, url, limits={"drain_seconds": 4}) as edge:
            async with RawHttp2(edge.port("https")) as client:
                over_h2 = Http2WebSocket(client)
                await over_h2.open()
                edge.send_signal(signal.SIGTERM)
                await wait_for_in_loop(lambda: client.seen.goaway is not None, "GOAWAY")
                for number in range(10):
                    await over_h2.echo(f"message {number}")
                await client.until_closed()
            assert await asyncio.to_thread(edge.wait, 20) == 0
            assert "1 connections were still open after 4 s" in edge.stderr
