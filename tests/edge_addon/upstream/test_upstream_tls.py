"""https upstreams that close, update their keys and misbehave in every way that TLS allows."""

import asyncio
import contextlib
import gc
import math
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import pytest

from edge_addon.transport.server_tls import TlsTransport
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import CA, Edge, relay_edge, stands_still
from tests.loops import in_loop
from tests.peers import require_peer
from tests.peers.tls_server import TlsConnection, TlsServer
from tests.ports import free_port

GET = b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
BIG = 30_000_000
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def server_context(folder: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    CA.issue("localhost").write_to(folder / "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(folder / "localhost" / "fullchain.pem", folder / "localhost" / "privkey.pem")
    return context


@contextlib.asynccontextmanager
async def edge_before(
    folder: Path, handler: Callable[[TlsConnection], None], context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Edge, TlsServer]]:
    (folder / "ca.pem").write_bytes(CA.root_pem)

    def serve(connection: TlsConnection) -> None:
        connection.handshake()
        handler(connection)

    with TlsServer(context or server_context(folder), serve) as server:
        upstream = {"url": f"https://localhost:{server.port}", "ca_file": "ca.pem"}
        async with relay_edge(folder, [upstream]) as edge:
            yield edge, server


@pytest.mark.parametrize("head", [UNTIL_CLOSE, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG],
                         ids=["to the end", "counted"])  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
@in_loop
async def test_a_slow_client_gets_the_whole_body_of_a_server_that_closes_immediately(
    version: ssl.TLSVersion, head: bytes, tmp_path: Path
) -> None:
    """Everything sent before close_notify arrives, however late it is read."""
    body = bytes(range(256)) * (BIG // 256) + bytes(BIG % 256)

    def handle(connection: TlsConnection) -> None:
        connection.read_head()
        connection.send(head + body, close=True)
        connection.finish()

    async with edge_before(tmp_path, handle, server_context(tmp_path, version)) as (edge, _):
        reader, writer = await edge.connect()
        writer.write(GET)
        await wait_for_in_loop(lambda: edge.plane.connections, "the client at the edge")
        unsent = next(iter(connections_of(edge.plane)))._transport.get_write_buffer_size
        await wait_for_in_loop(lambda: unsent() > 60_000, "back-pressure")
        await stands_still(unsent)
        assert unsent() < 2_000_000  # the rest may already be in the system's buffers, which take up to 33 MB
        got = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")[2]
        assert len(got) == BIG
        assert got == body
        assert not edge.plane.counters


@pytest.mark.slow
@in_loop
async def test_no_size_of_body_loses_its_tail_when_close_notify_comes_under_back_pressure(tmp_path: Path) -> None:
    """The tail may lie in any of the buffers on the way when the server has already closed."""
    sizes = range(100_000, 6_000_000, 150_000)

    def handle(connection: TlsConnection) -> None:
        size = int(connection.read_head().split()[1].removeprefix(b"/"))
        connection.send(UNTIL_CLOSE + bytes(size), close=True)
        connection.finish()

    def read_to_end(client: socket.socket) -> int:
        size = 0
        while data := client.recv(1 << 20):
            size += len(data)
        return size

    async with edge_before(tmp_path, handle) as (edge, _), contextlib.AsyncExitStack() as clients:
        waiting = []
        for size in sizes:
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", edge.port))
            client.sendall(GET.replace(b"/", b"/%d" % size, 1))
            waiting.append(client)
        await wait_for_in_loop(lambda: len(edge.plane.connections) == len(sizes), "every client at the edge")
        await stands_still(
            lambda: sum(each._transport.get_write_buffer_size() for each in connections_of(edge.plane)), seconds=1
        )
        got = [await asyncio.to_thread(read_to_end, client) for client in waiting]
    assert [size for each, size in zip(got, sizes, strict=True) if each < size] == []


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
@in_loop
async def test_close_delimited_body_without_close_notify_is_truncated(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """RFC 9112 §9.8: anybody on the path can end a TCP connection."""

    def handle(connection: TlsConnection) -> None:
        connection.read_head()
        connection.send(UNTIL_CLOSE + b"half of it")
        connection.finish()

    async with edge_before(tmp_path, handle, server_context(tmp_path, version)) as (edge, _):
        reader, writer = await edge.connect()
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 60)
        await edge.counted("upstream_gone")


@in_loop
async def test_body_with_a_length_is_complete_without_close_notify(tmp_path: Path) -> None:
    """RFC 9112 §9.8: its length shows that it is complete."""

    def handle(connection: TlsConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
        connection.finish()

    async with edge_before(tmp_path, handle) as (edge, _):
        assert (await edge.send(GET)).endswith(b"\r\n\r\nwhole")
        assert not edge.plane.counters


@in_loop
async def test_server_gets_its_name_and_our_protocol_and_keeps_its_connection(tmp_path: Path) -> None:
    """Session tickets after a TLS 1.3 handshake must not count as an unrequested response."""
    names: list[str | None] = []
    context = server_context(tmp_path)
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def handle(connection: TlsConnection) -> None:
        while True:
            connection.read_head()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with edge_before(tmp_path, handle, context) as (edge, server):
        for _ in range(3):
            assert (await edge.send(GET)).endswith(b"\r\n\r\nok")
        assert names == ["localhost"]
        assert [each.tls.selected_alpn_protocol() for each in server.connections] == ["http/1.1"]


@in_loop
async def test_answer_sent_before_the_server_closed_on_a_body_reaches_the_client(tmp_path: Path) -> None:
    def handle(connection: TlsConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig", close=True)
        connection.socket.close()  # with our body unread: a reset

    async with edge_before(tmp_path, handle) as (edge, _):
        reader, writer = await edge.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n" + bytes(20_000_000))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)).startswith(b"HTTP/1.1 413 ")


@in_loop
async def test_closed_connection_does_not_refer_to_itself(tmp_path: Path) -> None:
    def handle(connection: TlsConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.read()

    def count_transports() -> int:
        return sum(type(each) is TlsTransport for each in gc.get_objects())

    async with edge_before(tmp_path, handle) as (edge, _):
        gc.collect()
        gc.disable()
        try:
            assert (await edge.send(GET)).endswith(b"\r\n\r\nok")
            server = edge.plane.upstream_pool("main").servers[0]
            assert count_transports() == 1
            server.close_idle(math.inf)
            await wait_for_in_loop(lambda: count_transports() == 0, "the connection to be freed")
        finally:
            gc.enable()


class OpenSslServer:
    """`openssl s_server`, which does on command what Python's `ssl` can't."""

    def __init__(self, folder: Path, *options: str) -> None:
        server_context(folder)
        self.port = free_port()
        keys = ["-cert", "fullchain.pem", "-cert_chain", "fullchain.pem", "-key", "privkey.pem"]
        options = ("-accept", f"127.0.0.1:{self.port}", "-crlf", *keys, *options)
        self._program = subprocess.Popen(
            ["stdbuf", "-o0", str(require_peer("openssl")), "s_server", *options],
            cwd=folder / "localhost", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._program.stdout is not None
        while data := self._program.stdout.read1(65536):  # type: ignore[attr-defined]
            self.output += data

    async def says(self, text: bytes) -> None:
        await wait_for_in_loop(lambda: text in self.output, f"{text!r} in {self.output!r}")

    def type(self, line: bytes) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(line)
        self._program.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.wait(20)
        self._reader.join(20)
        for pipe in (self._program.stdin, self._program.stdout):
            assert pipe is not None
            pipe.close()


@pytest.mark.peer
@pytest.mark.parametrize(
    ("options", "command", "is_whole"),
    [
        pytest.param(["-tls1_3"], b"k\n", True, id="key update"),
        pytest.param(["-tls1_3"], b"K\n", True, id="key update of both sides"),
        pytest.param(["-tls1_2"], b"r\n", False, id="renegotiation"),
    ],
)
@in_loop
async def test_keys_may_be_updated_but_not_renegotiated(
    options: list[str], command: bytes, is_whole: bool, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    with OpenSslServer(tmp_path, *options) as server:
        await server.says(b"ACCEPT")
        upstream = {"url": f"https://localhost:{server.port}", "ca_file": "ca.pem"}
        async with relay_edge(tmp_path, [upstream]) as edge:
            reader, writer = await edge.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\nfirst")
            await server.says(b"first")
            server.type(b"HTTP/1.1 200 OK\nContent-Length: 7\n\n")
            await reader.readuntil(b"\r\n\r\n")
            server.type(command)
            if is_whole:
                await server.says(b"SSL_do_handshake -> 1")
                writer.write(b"end")
                await server.says(b"end")
                server.type(b"whole\n")
                assert await asyncio.wait_for(reader.readexactly(7), 60) == b"whole\r\n"
            else:
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(), 60) == b""
                await edge.counted("upstream_gone")
