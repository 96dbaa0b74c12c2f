"""TLS with the upstream: verified, begun only when allowed, and after the PROXY header."""

import asyncio
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.connection import ClientConnection
from edge_addon.mail.opening import UPSTREAM_PIPELINED, UPSTREAM_WITHOUT_STARTTLS
from edge_addon.mail.upstream import TLS_FAILED, UpstreamLeg
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.mail.edge import (
    CA,
    MAIN_HOST,
    OTHER_CA,
    Peer,
    Script,
    Upstream,
    client_context,
    mail_edge,
    server_context,
)
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import stands_still
from tests.loops import in_loop
from tests.peers.tls_server import TlsConnection, TlsServer
from tests.ports import listening_socket

NAME = "mail.internal.test"


async def imap_over_tls(peer: Peer) -> None:
    peer.say(b"* OK [CAPABILITY IMAP4rev1] over TLS\r\n")
    while line := await peer.line():
        peer.say(line.split()[0] + b" OK done\r\n")


def behind_starttls(context: ssl.SSLContext, *, extra: bytes = b"") -> Script:
    async def serve(peer: Peer) -> None:
        peer.say(b"* OK in the clear\r\n")
        assert await peer.line() == b"edge STARTTLS\r\n"
        peer.say(b"edge OK go\r\n" + extra)
        await peer.start_tls(context)
        while line := await peer.line():
            peer.say(line.split()[0] + b" OK done\r\n")

    return serve


def listener(folder: Path, mode: str, ca: bytes = CA.root_pem, name: str | None = NAME, **more: Any) -> dict[str, Any]:
    (folder / "ca.pem").write_bytes(ca)
    return {"upstream_tls": mode, "upstream_ca_file": "ca.pem", "upstream_name": name, **more}


@pytest.mark.parametrize("mode", ["tls", "starttls"])
def test_the_edge_speaks_verified_tls_with_the_upstream(tmp_path: Path, mode: str) -> None:
    @in_loop
    async def run() -> None:
        context = server_context(CA.issue(NAME), tmp_path / "server")
        script = imap_over_tls if mode == "tls" else behind_starttls(context)
        async with (
            Upstream(script, tls=context if mode == "tls" else None) as upstream,
            mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, mode)) as edge,
        ):
            client = await edge.connect(client_context())
            greeting = await client.line()
            assert greeting.startswith(b"* OK ")
            assert b"in the clear" not in greeting
            assert await client.ask(b"a NOOP\r\n", b"a ") == b"a OK done\r\n"

    run()


@pytest.mark.parametrize("mode", ["tls", "starttls"])
@pytest.mark.parametrize(
    ("ca", "name"),
    [
        pytest.param(OTHER_CA.root_pem, NAME, id="another authority"),
        pytest.param(CA.root_pem, "other.internal.test", id="another name"),
        pytest.param(CA.root_pem, None, id="the address, which the certificate does not cover"),
        pytest.param(b"no certificates here", NAME, id="a file without authorities"),
    ],
)
def test_a_certificate_that_does_not_verify_ends_the_session(
    tmp_path: Path, mode: str, ca: bytes, name: str | None
) -> None:
    @in_loop
    async def run() -> None:
        context = server_context(CA.issue(NAME), tmp_path / "server")
        script = imap_over_tls if mode == "tls" else tolerant(behind_starttls(context))
        async with (
            Upstream(script, tls=context if mode == "tls" else None) as upstream,
            mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, mode, ca, name)) as edge,
        ):
            client = await edge.connect(client_context())
            assert (await client.end()).startswith(b"* BYE [UNAVAILABLE]")
            await edge.counted(TLS_FAILED)

    run()


def tolerant(script: Script) -> Script:
    """A server whose handshake is expected to fail."""

    async def serve(peer: Peer) -> None:
        with pytest.raises((OSError, ssl.SSLError, EOFError)):
            await script(peer)

    return serve


@in_loop
async def test_the_proxy_header_goes_out_in_the_clear_before_tls(tmp_path: Path) -> None:
    headers: list[bytes] = []

    def serve(connection: TlsConnection) -> None:
        headers.append(connection.read_line_in_clear())
        connection.handshake()
        connection.send(b"* OK over TLS\r\n")
        connection.read()

    with TlsServer(server_context(CA.issue(NAME), tmp_path / "server"), serve) as upstream:
        async with mail_edge(
            tmp_path, "imaps", upstream.port, **listener(tmp_path, "tls", proxy_protocol="v1")
        ) as edge:
            client = await edge.connect(client_context())
            assert b"over TLS" in await client.line()
            assert headers[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


@in_loop
async def test_bytes_injected_after_the_upstreams_go_ahead_end_the_session(tmp_path: Path) -> None:
    context = server_context(CA.issue(NAME), tmp_path / "server")
    script = tolerant(behind_starttls(context, extra=b"* OK [ALERT] injected\r\n"))
    async with (
        Upstream(script) as upstream,
        mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, "starttls")) as edge,
    ):
        client = await edge.connect(client_context())
        heard = await client.end()
        assert heard.startswith(b"* BYE [UNAVAILABLE]")
        assert b"injected" not in heard
        await edge.counted(UPSTREAM_PIPELINED)


@in_loop
async def test_an_upstream_without_starttls_is_not_used_in_the_clear(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(b"220 mail\r\n")
        await peer.line()
        peer.say(b"250 mail\r\n")
        assert await peer.line() == b"STARTTLS\r\n"
        peer.say(b"502 not here\r\n")
        assert await peer.line() == b""

    async with (
        Upstream(serve) as upstream,
        mail_edge(tmp_path, "smtp", upstream.port, **listener(tmp_path, "starttls")) as edge,
    ):
        client = await edge.connect()
        assert (await client.end()).startswith(b"421 ")
        await edge.counted(UPSTREAM_WITHOUT_STARTTLS)


@in_loop
async def test_an_upstream_that_speaks_in_the_clear_where_tls_is_expected_ends_the_session(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(b"* OK [ALERT] in the clear\r\n")
        await peer.end()

    async with (
        Upstream(serve) as upstream,
        mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, "tls")) as edge,
    ):
        client = await edge.connect(client_context())
        heard = await client.end()
        assert heard.startswith(b"* BYE [UNAVAILABLE]")
        assert b"in the clear" not in heard
        assert edge.plane.counters[TLS_FAILED] == 1


@pytest.mark.parametrize("mode", ["tls", "starttls"])
def test_a_client_that_vanishes_in_the_upstreams_handshake_frees_the_upstream(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    hellos: list[bytes] = []

    async def serve(peer: Peer) -> None:
        if mode == "starttls":
            peer.say(b"* OK in the clear\r\n")
            await peer.line()
            peer.say(b"edge OK go\r\n")
        hellos.append(await peer.exactly(1))
        await peer.end()

    @in_loop
    async def run() -> None:
        async with (
            Upstream(serve) as upstream,
            mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, mode)) as edge,
        ):
            client = await edge.connect(client_context())
            await wait_for_in_loop(lambda: hellos, "the handshake to begin")
            client.abort()
            await upstream.done()

    run()
    assert "TLS as" not in caplog.text, "nothing of that is the server's fault"


@in_loop
async def test_bytes_injected_after_the_upstreams_go_ahead_are_no_handshake(tmp_path: Path) -> None:
    """An attacker on the connection sends bytes before the server's first record."""

    async def serve(peer: Peer) -> None:
        peer.say(b"* OK in the clear\r\n")
        await peer.line()
        peer.say(b"edge OK go\r\n")
        await peer.exactly(1)
        peer.say(b"* OK [ALERT] injected\r\n")
        await peer.end()

    async with (
        Upstream(serve) as upstream,
        mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, "starttls")) as edge,
    ):
        client = await edge.connect(client_context())
        heard = await client.end()
        assert heard.startswith(b"* BYE [UNAVAILABLE]")
        assert b"injected" not in heard
        await edge.counted(TLS_FAILED)


def test_nothing_is_lost_when_the_upstream_ends_while_the_client_does_not_read(tmp_path: Path) -> None:
    """The tail may be in any buffer along the way when the upstream's end has arrived already."""
    sizes = range(100_000, 6_000_000, 120_000)
    may_read = threading.Event()

    def read_late(port: int, size: int) -> int:
        """Does not use the loop's TLS, which loses tails itself."""
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            client_context().wrap_socket(plain, server_hostname=MAIN_HOST) as client,
        ):
            client.recv(100)
            client.sendall(b"a LOGIN a b\r\n")
            assert client.recv(100) == b"a OK in\r\n"
            client.sendall(b"%d\r\n" % size)
            may_read.wait(20)
            count = 0
            while data := client.recv(1 << 20):
                count += len(data)
            return count

    def serve(connection: TlsConnection) -> None:
        connection.handshake()
        connection.send(b"* OK here\r\n")
        connection.read()
        connection.send(b"a OK in\r\n")
        connection.send(bytes(int(connection.read())), close=True)
        connection.finish()

    @in_loop
    async def run() -> None:
        async with mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, "tls")) as edge:
            with ThreadPoolExecutor(len(sizes)) as threads:
                clients = [threads.submit(read_late, edge.port, size) for size in sizes]
                waiting = connections_of(edge.plane)
                await wait_for_in_loop(lambda: sum(_unsent(each) > 0 for each in waiting) > 5, "back-pressure")
                await stands_still(lambda: sum(map(_unsent, waiting)))
                may_read.set()
                got = [await asyncio.wrap_future(client) for client in clients]
            assert got == list(sizes)

    with TlsServer(server_context(CA.issue(NAME), tmp_path / "server"), serve) as upstream:
        run()


def _unsent(connection: ClientConnection) -> int:
    return connection._transport.get_write_buffer_size()


class Nobody:
    """The session of a client that has left."""

    def upstream_connected(self) -> None: ...
    def upstream_secured(self) -> None: ...
    def upstream_received(self, data: bytes) -> None: ...
    def upstream_lost(self, cause: str) -> None: ...
    def upstream_full(self, *, is_full: bool) -> None: ...


@in_loop
async def test_an_upstream_gets_its_header_even_if_the_client_leaves_while_the_edge_connects(tmp_path: Path) -> None:
    """The system has connected already, and a server that waits for the header would log its absence."""
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n"
    loop = asyncio.get_running_loop()
    with listening_socket() as server:
        server.setblocking(False)
        upstream = f"127.0.0.1:{server.getsockname()[1]}"
        settings = ListenerSettings.model_validate({"kind": "imap", "listen": "127.0.0.1:0", "upstream": upstream})
        leg = UpstreamLeg(Nobody(), loop, settings, tmp_path)
        leg.open(header)
        leg.close()
        connection, _ = await loop.sock_accept(server)
        with connection:
            received = b""
            while data := await loop.sock_recv(connection, 4096):
                received += data
    assert received == header
