"""The upstream leg under TLS: verified, begun only when it may, and behind the PROXY header."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from certstore.model.settings import ListenerSettings
from edge_addon.mail.opening import UPSTREAM_PIPELINED, UPSTREAM_WITHOUT_STARTTLS
from edge_addon.mail.upstream import SPOKE_TOO_EARLY, TLS_FAILED, UpstreamLeg
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.mail.edge import CA, OTHER_CA, Peer, Script, Upstream, client_context, mail_edge, server_context
from tests.loops import in_loop

NAME = "mail.internal.test"


async def imap_over_tls(peer: Peer) -> None:
    peer.say(b"* OK [CAPABILITY IMAP4rev1] over TLS\r\n")
    while line := await peer.line():
        peer.say(line.split()[0] + b" OK done\r\n")


def at_once(context: ssl.SSLContext) -> Script:
    async def serve(peer: Peer) -> None:
        await peer.start_tls(context)
        await imap_over_tls(peer)

    return serve


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
def test_the_upstream_is_spoken_to_over_verified_tls(tmp_path: Path, mode: str) -> None:
    @in_loop
    async def run() -> None:
        context = server_context(CA.issue(NAME), tmp_path / "server")
        script = at_once(context) if mode == "tls" else behind_starttls(context)
        async with (
            Upstream(script) as upstream,
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
        script = tolerant(at_once(context) if mode == "tls" else behind_starttls(context))
        async with (
            Upstream(script) as upstream,
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
    context = server_context(CA.issue(NAME), tmp_path / "server")
    headers: list[bytes] = []

    async def serve(peer: Peer) -> None:
        headers.append(await peer.line())
        await at_once(context)(peer)

    async with (
        Upstream(serve) as upstream,
        mail_edge(tmp_path, "imaps", upstream.port, **listener(tmp_path, "tls", proxy_protocol="v1")) as edge,
    ):
        client = await edge.connect(client_context())
        assert b"over TLS" in await client.line()
        assert headers[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


@in_loop
async def test_bytes_injected_behind_the_upstreams_go_ahead_end_the_session(tmp_path: Path) -> None:
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
        assert edge.plane.counters[TLS_FAILED] + edge.plane.counters[SPOKE_TOO_EARLY] == 1


@pytest.mark.parametrize("mode", ["tls", "starttls"])
def test_a_client_that_vanishes_in_the_upstreams_handshake_frees_the_upstream(tmp_path: Path, mode: str) -> None:
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


class Recorder:
    """An owner that notes what it hears."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost: list[str] = []

    def upstream_connected(self) -> None: ...

    def upstream_secured(self) -> None: ...

    def upstream_received(self, data: bytes) -> None:
        self.received.append(data)

    def upstream_lost(self, cause: str) -> None:
        self.lost.append(cause)

    def upstream_full(self, *, is_full: bool) -> None: ...


@pytest.mark.parametrize("mode", ["none", "tls"])
def test_what_comes_before_the_handshake_is_never_passed_on(tmp_path: Path, mode: str) -> None:
    """Shown on the leg alone: on a socket the window is open for one turn of the loop only."""

    @in_loop
    async def run() -> None:
        given = {"kind": "imaps", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "upstream_tls": mode}
        settings, owner = ListenerSettings.model_validate(given), Recorder()
        leg = UpstreamLeg(owner, asyncio.get_running_loop(), settings, tmp_path)
        leg.data_received(b"* OK injected\r\n")
        assert (owner.received, owner.lost) == (
            ([b"* OK injected\r\n"], []) if mode == "none" else ([], [SPOKE_TOO_EARLY])
        )

    run()
