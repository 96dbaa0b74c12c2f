import asyncio
import ssl
from pathlib import Path

import pytest

from edge_addon.mail import relay
from edge_addon.mail.starttls import AUTH_BEFORE_TLS, LINE_LIMIT, PIPELINED_AFTER_STARTTLS
from edge_addon.mail.upstream import UNREACHABLE
from edge_addon.transport import proxy_protocol
from edge_addon.transport.channel import Address
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.mail.edge import DOMAIN_HOST, MAIN, OTHER_CA, Peer, Upstream, client_context, mail_edge
from tests.loops import in_loop
from tests.ports import free_port

NO_PROTOCOL = "alert no application protocol"
IMAP_GREETING = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] upstream\r\n"


async def imap_login(peer: Peer) -> None:
    """An IMAP server up to a login."""
    peer.say(IMAP_GREETING)
    if line := await peer.line():
        peer.say(line.split()[0] + b" OK in\r\n")


async def unsent_when_stopped(peer: Peer) -> int:
    """How many bytes are unsent once sending has stopped: the same number in twenty checks in a row."""
    seen: list[int] = []

    def is_steady() -> bool:
        seen.append(peer.writer.transport.get_write_buffer_size())
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    await wait_for_in_loop(is_steady, "the sender to be stopped")
    return seen[-1]


async def imap_echo(peer: Peer) -> None:
    await imap_login(peer)
    while line := await peer.line():
        peer.say(line)


@in_loop
async def test_implicit_tls_is_a_tunnel_once_logged_in(tmp_path: Path) -> None:
    async with Upstream(imap_echo) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context())
        assert await client.line() == b"* OK [CAPABILITY IMAP4rev1] upstream\r\n"
        assert await client.ask(b"a LOGIN user secret\r\n", b"a ") == b"a OK in\r\n"
        assert (
            await client.ask(b"b STARTTLS whatever it means now\r\n", b"b ") == b"b STARTTLS whatever it means now\r\n"
        )
        client.close()
        (entry,) = await edge.log_entries()
        assert entry["kind"] == "imaps"
        assert (entry["certificate"], entry["reason"], entry["server_name"]) == ("main", "mail_listener", "edge.test")
        assert entry["upstream"] == f"127.0.0.1:{upstream.port}"
        assert entry["bytes_in"] == len(b"a LOGIN user secret\r\nb STARTTLS whatever it means now\r\n")
        assert entry["bytes_out"] > entry["bytes_in"]
        assert "secret" not in edge.log.read_text()


@in_loop
async def test_a_domains_name_gets_the_main_certificate(tmp_path: Path) -> None:
    context = client_context()
    context.check_hostname = False
    async with Upstream(imap_echo) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(context, DOMAIN_HOST)
        await client.line()
        assert client.leaf() == MAIN.cert_der
        client.close()
        (entry,) = await edge.log_entries()
        assert (entry["certificate"], entry["server_name"]) == ("main", DOMAIN_HOST)


@in_loop
async def test_a_client_that_trusts_another_authority_fails(tmp_path: Path) -> None:
    async with Upstream() as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await edge.connect(client_context(ca=OTHER_CA))
        assert upstream.connections == 0


@pytest.mark.parametrize(
    ("kind", "offer", "chosen"),
    [
        ("imaps", ["imap"], "imap"),
        ("imaps", [], None),
        ("submissions", ["x", "smtp"], "smtp"),
        ("pop3s", ["h2", "http/1.1"], NO_PROTOCOL),
        ("imaps", ["smtp"], NO_PROTOCOL),
    ],
)
@in_loop
async def test_a_client_of_another_protocol_gets_no_handshake(
    kind: str, offer: list[str], chosen: str | None, tmp_path: Path
) -> None:
    context = client_context()
    if offer:
        context.set_alpn_protocols(offer)

    async def wait(peer: Peer) -> None:
        await peer.end()

    async with Upstream(wait) as upstream, mail_edge(tmp_path, kind, upstream.port) as edge:
        if chosen == NO_PROTOCOL:
            with pytest.raises(ssl.SSLError, match=NO_PROTOCOL):
                await edge.connect(context)
            await edge.counted("tls_alpn_refused")
        else:
            client = await edge.connect(context)
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen


@in_loop
async def test_the_edge_does_not_connect_to_the_mail_server_before_tls(tmp_path: Path) -> None:
    async with Upstream(imap_echo) as upstream, mail_edge(tmp_path, "imap", upstream.port) as edge:
        client = await edge.connect()
        assert b"STARTTLS LOGINDISABLED" in await client.line()
        assert (await client.ask(b"a LOGIN user secret\r\n", b"a ")).startswith(b"a NO [PRIVACYREQUIRED]")
        await edge.counted(AUTH_BEFORE_TLS)
        assert (await client.ask(b"b STARTTLS\r\n", b"b ")).startswith(b"b OK")
        assert upstream.connections == 0
        await client.start_tls(client_context(), "edge.test")
        assert client.leaf() == MAIN.cert_der
        # There is no greeting after STARTTLS: the first line is the answer to the first command.
        assert await client.ask(b"c LOGIN user secret\r\n", b"c ") == b"c OK in\r\n"
        assert upstream.connections == 1


@in_loop
async def test_commands_pipelined_after_starttls_are_never_executed(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def serve(peer: Peer) -> None:
        peer.say(IMAP_GREETING)
        while line := await peer.line():
            heard.append(line)
            peer.say(line.split()[0] + b" OK done\r\n")

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "imap", upstream.port) as edge:
        client = await edge.connect()
        await client.line()
        client.say(b"a STARTTLS\r\nb LOGIN injected secret\r\nc NOOP\r\n")
        assert await client.line() == b"a OK Begin TLS\r\n"
        await edge.counted(PIPELINED_AFTER_STARTTLS)
        await client.start_tls(client_context(), "edge.test")
        assert await client.ask(b"d CAPABILITY\r\n", b"d ") == b"d OK done\r\n"
        assert heard == [b"d CAPABILITY\r\n"]


@in_loop
async def test_managesieve_greets_again_over_tls(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(b'"SASL" "PLAIN"\r\n"STARTTLS"\r\nOK "ready"\r\n')
        await peer.end()

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "sieve", upstream.port) as edge:
        client = await edge.connect()
        assert b'"STARTTLS"' in await client.lines(b"OK")
        await client.ask(b"STARTTLS\r\n", b"OK")
        await client.start_tls(client_context(), "edge.test")
        assert await client.lines(b"OK") == b'"SASL" "PLAIN"\r\nOK "ready"\r\n'


@pytest.mark.parametrize(
    ("kind", "hello", "refusal", "offers"),
    [
        ("smtp", b"EHLO a.test\r\n", b"530 5.7.0", b"250-mail\r\n250-SIZE 9\r\n250 AUTH PLAIN\r\n"),
        ("lmtp", b"LHLO a.test\r\n", b"500 5.5.1", b"250-mail\r\n250 SIZE 9\r\n"),
    ],
)
@in_loop
async def test_mail_in_the_clear_and_over_tls_are_two_sessions_of_the_upstream(
    tmp_path: Path, kind: str, hello: bytes, refusal: bytes, offers: bytes
) -> None:
    """What an attacker adds after STARTTLS in the clear is discarded."""
    in_clear: list[bytes] = []
    over_tls: list[bytes] = []

    def serve(heard: list[bytes]) -> object:
        async def script(peer: Peer) -> None:
            peer.say(b"220 mail ESMTP\r\n")
            while line := await peer.line():
                heard.append(line)
                everything = b"250-mail\r\n250-STARTTLS\r\n250-SIZE 9\r\n250 AUTH PLAIN\r\n"
                peer.say(everything if line == hello else b"250 ok\r\n")

        return script

    async with (
        Upstream(serve(in_clear), serve(over_tls)) as upstream,  # type: ignore[arg-type]
        mail_edge(tmp_path, kind, upstream.port) as edge,
    ):
        client = await edge.connect()
        assert await client.line() == b"220 mail ESMTP\r\n"
        assert await client.ask(hello, b"250 ") == b"250-mail\r\n250-SIZE 9\r\n250 STARTTLS\r\n"
        await client.ask(b"MAIL FROM:<clear@a.test>\r\n", b"250 ")
        assert (await client.ask(b"AUTH PLAIN AHUAcA==\r\n", b"5")).startswith(refusal)
        client.say(b"STARTTLS\r\nRCPT TO:<injected@b.test>\r\n")
        assert await client.line() == b"220 2.0.0 Begin TLS\r\n"
        await client.start_tls(client_context(), "edge.test")
        assert await client.ask(hello, b"250 ") == offers
        await upstream.done(1)
        assert in_clear == [hello, b"MAIL FROM:<clear@a.test>\r\n", b"QUIT\r\n"]
        assert over_tls == [hello]


@pytest.mark.parametrize(
    ("kind", "goodbye"),
    [
        ("smtp", b"421 4.3.2 edge.test "),
        ("lmtp", b"421 4.3.2 edge.test "),
        ("submissions", b"421 4.3.2 edge.test "),
        ("imaps", b"* BYE [UNAVAILABLE] "),
        ("pop3s", b"-ERR [SYS/TEMP] "),
    ],
)
def test_a_session_without_its_mail_server_ends_with_a_goodbye_that_asks_to_retry(
    tmp_path: Path, kind: str, goodbye: bytes
) -> None:
    @in_loop
    async def run() -> None:
        async with mail_edge(tmp_path, kind, free_port()) as edge:
            client = await edge.connect(client_context() if kind.endswith("s") else None)
            assert (await client.end()).startswith(goodbye)
            await edge.counted(UNREACHABLE)
            (entry,) = await edge.log_entries()
            assert (entry["kind"], entry["outcome"]) == (kind, UNREACHABLE)

    run()


@in_loop
async def test_a_mail_server_that_vanishes_in_a_mail_makes_the_client_keep_it(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(b"220 mail\r\n")
        await peer.line()
        peer.say(b"354 go\r\n")
        await peer.line()
        peer.abort()

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "smtp", upstream.port) as edge:
        client = await edge.connect()
        await client.line()
        await client.ask(b"DATA\r\n", b"354")
        client.say(b"Subject: lost\r\n")
        assert (await client.end()).startswith(b"421 4.3.2")
        await edge.counted("mail_upstream_gone")


@in_loop
async def test_a_mail_server_that_ends_a_tunnel_ends_it_for_the_client(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        await imap_login(peer)
        peer.say(b"* BYE going\r\n")

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context())
        await client.line()
        client.say(b"a LOGIN u p\r\n")
        assert await client.end() == b"a OK in\r\n* BYE going\r\n"


@in_loop
async def test_a_client_that_vanishes_frees_the_mail_server(tmp_path: Path) -> None:
    async with Upstream(imap_echo) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context())
        await client.line()
        client.abort()
        await upstream.done()


@in_loop
async def test_a_client_that_closed_its_side_still_gets_the_answers(tmp_path: Path) -> None:
    async def answer(peer: Peer) -> None:
        peer.say(b"220 mail\r\n")
        assert await peer.line() == b"NOOP\r\n"
        peer.say(b"250 ok\r\n")
        assert await peer.line() == b"QUIT\r\n"
        assert await peer.line() == b"", "the client's end"
        peer.say(b"221 bye\r\n")

    async with Upstream(answer) as upstream, mail_edge(tmp_path, "smtp", upstream.port) as edge:
        client = await edge.connect()
        client.say(b"NOOP\r\nQUIT\r\n")
        client.writer.write_eof()
        assert await client.end() == b"220 mail\r\n250 ok\r\n221 bye\r\n"


@in_loop
async def test_a_mail_server_that_does_not_keep_up_slows_the_client(tmp_path: Path) -> None:
    may_read = asyncio.Event()
    text = (b"x" * 998 + b"\r\n") * (32 << 10) + b".\r\n"

    async def serve(peer: Peer) -> None:
        peer.say(b"220 mail\r\n")
        await peer.line()
        peer.say(b"354 go\r\n")
        await may_read.wait()
        assert await peer.exactly(len(text)) == text
        peer.say(b"250 whole\r\n")

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "smtp", upstream.port) as edge:
        client = await edge.connect()
        await client.line()
        await client.ask(b"DATA\r\n", b"354")
        client.say(text)
        unsent = await unsent_when_stopped(client)
        may_read.set()
        assert unsent > len(text) // 2, "most of it still waited at the client"
        assert await client.line() == b"250 whole\r\n"


@in_loop
async def test_a_client_that_does_not_keep_up_slows_the_mail_server(tmp_path: Path) -> None:
    size = 32 << 20
    serving: list[Peer] = []

    async def serve(peer: Peer) -> None:
        await imap_login(peer)
        serving.append(peer)
        peer.say(b"y" * size)
        await peer.end()

    async with Upstream(serve) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context())
        await client.line()
        await client.ask(b"a LOGIN u p\r\n", b"a ")
        await wait_for_in_loop(lambda: serving, "the mail server to send")
        # The sockets of three connections hold some 20 MB by themselves.
        assert await unsent_when_stopped(serving[0]) > size // 4, "much of it still waits at the mail server"
        assert await client.exactly(size) == b"y" * size


@in_loop
async def test_a_flood_before_the_mail_server_answers_is_not_held(tmp_path: Path) -> None:
    async def silent(peer: Peer) -> None:
        await peer.end()

    async with Upstream(silent) as upstream, mail_edge(tmp_path, "smtp", upstream.port) as edge:
        client = await edge.connect()
        size = 32 << 20
        client.say(b"NOOP\r\n" * (size // 6))
        assert await unsent_when_stopped(client) > size // 2


@pytest.mark.parametrize(
    ("kind", "goodbye"),
    [
        ("imap", b"* BYE Line too long\r\n"),
        ("pop3", b"-ERR Line too long\r\n"),
        ("submission", b"500 5.5.2 Line too long\r\n"),
        ("sieve", b'BYE "Line too long"\r\n'),
    ],
)
@in_loop
async def test_an_endless_line_ends_a_session_with_a_goodbye_that_names_it(
    tmp_path: Path, kind: str, goodbye: bytes
) -> None:
    async with mail_edge(tmp_path, kind, free_port()) as edge:
        client = await edge.connect()
        client.say(b"x" * LINE_LIMIT)
        assert (await client.end()).endswith(b"\r\n" + goodbye)
        await edge.counted("mail_line_too_long")


@in_loop
async def test_silence_ends_a_session_with_a_goodbye(tmp_path: Path) -> None:
    async with mail_edge(tmp_path, "imap", free_port(), limits={"mail_idle_seconds": 0.2}) as edge:
        client = await edge.connect()
        heard = await client.end()
        assert b"\r\n* BYE [UNAVAILABLE] " in heard
        await edge.counted(relay.IDLE)
        (entry,) = await edge.log_entries()
        assert entry["outcome"] == relay.IDLE


@in_loop
async def test_silence_in_a_pop3_tunnel_ends_it_without_a_word(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(b"+OK\r\n")
        await peer.line()
        peer.say(b"+OK\r\n")
        await peer.end()

    async with (
        Upstream(serve) as upstream,
        mail_edge(tmp_path, "pop3s", upstream.port, limits={"mail_idle_seconds": 0.2}) as edge,
    ):
        client = await edge.connect(client_context())
        await client.line()
        client.say(b"PASS x\r\n")
        assert await client.end() == b"+OK\r\n"
        await edge.counted(relay.IDLE)


@in_loop
async def test_a_mail_server_that_never_greets_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "OPENING_SECONDS", 0.2)

    async def silent(peer: Peer) -> None:
        await peer.end()

    async with Upstream(silent) as upstream, mail_edge(tmp_path, "imaps", upstream.port) as edge:
        client = await edge.connect(client_context())
        assert (await client.end()).startswith(b"* BYE [UNAVAILABLE]")
        await edge.counted(relay.OPENING_TIMED_OUT)


@in_loop
async def test_draining_ends_what_has_not_begun_and_leaves_the_rest_until_the_deadline(tmp_path: Path) -> None:
    async with (
        Upstream(imap_echo, imap_echo) as upstream,
        mail_edge(tmp_path, "imap", upstream.port, limits={"drain_seconds": 3.0}) as edge,
    ):
        fresh, busy = await edge.connect(), await edge.connect()
        await fresh.line()
        await busy.line()
        await busy.ask(b"a STARTTLS\r\n", b"a ")
        await busy.start_tls(client_context(), "edge.test")
        await busy.ask(b"b LOGIN u p\r\n", b"b ")
        for connection in list(edge.plane.connections):
            connection.drain()
        assert (await fresh.end()).startswith(b"* BYE [UNAVAILABLE] Restarting")
        assert await busy.ask(b"c still here\r\n", b"c ") == b"c still here\r\n"
        assert (await busy.end()).startswith(b"* BYE [UNAVAILABLE] Restarting")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_proxy_header_comes_before_everything_else(tmp_path: Path, version: str) -> None:
    heard: list[bytes] = []

    async def serve(peer: Peer) -> None:
        heard.append(await peer.reader.read(4096))
        await imap_echo(peer)

    @in_loop
    async def run() -> None:
        async with (
            Upstream(serve) as upstream,
            mail_edge(tmp_path, "imaps", upstream.port, proxy_protocol=version) as edge,
        ):
            client = await edge.connect(client_context())
            await client.line()
            port = client.writer.get_extra_info("sockname")[1]
            header = proxy_protocol.parse(heard[0])
            assert header == proxy_protocol.Header(
                len(heard[0]), Address("127.0.0.1", port), Address("127.0.0.1", edge.port)
            )
            assert (b"TLSv1.3" in heard[0] and b"edge.test" in heard[0]) is (version == "v2")

    run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "command", "greeting"),
    [
        ("imap", b"a CAPABILITY\r\n", b"* OK"),
        ("pop3", b"CAPA\r\n", b"+OK"),
        ("sieve", b"CAPABILITY\r\n", b"OK"),
        ("submission", b"NOOP\r\n", b"220"),
    ],
)
@in_loop
async def test_a_client_that_reads_no_answers_is_not_read_from(
    tmp_path: Path, kind: str, command: bytes, greeting: bytes
) -> None:
    async with mail_edge(tmp_path, kind, free_port()) as edge:
        client = await edge.connect()
        await client.lines(greeting)
        size = 24 << 20
        client.say(command * (size // len(command)))
        # Both sockets' buffers hold some megabytes; every command is answered by the edge itself.
        assert await unsent_when_stopped(client) > size // 3


@pytest.mark.parametrize("kind", ["imap", "imaps"])
@in_loop
async def test_trickled_commands_do_not_extend_the_login_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(relay, "LOGIN_SECONDS", 1.0)

    async def never_in(peer: Peer) -> None:
        peer.say(IMAP_GREETING)
        while line := await peer.line():
            peer.say(line.split()[0] + b" OK done\r\n")

    async with Upstream(never_in) as upstream, mail_edge(tmp_path, kind, upstream.port) as edge:
        client = await edge.connect(client_context() if kind == "imaps" else None)
        await client.line()

        async def drip() -> None:
            while not client.writer.is_closing():
                client.say(b"a NOOP\r\n")
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        try:
            assert b"* BYE [UNAVAILABLE] Idle" in await client.end()
        finally:
            dripping.cancel()
        await edge.counted(relay.IDLE)
