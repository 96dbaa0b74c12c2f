"""First bytes and TLS of the running edge: any input gets its proper answer and harms no other client."""

import asyncio
import gc
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import cast

import pytest

from certstore.net.tls_engine import EngineName
from edge_addon.listeners import connection as connection_module
from edge_addon.listeners.connection import ClientConnection
from edge_addon.transport.tls_stage import INTERNAL_ERROR
from edge_addon.upstream import opening as opening_module
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for, wait_for_in_loop
from tests.descriptors import no_free_descriptor
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import Edge, entry, relay_edge
from tests.edge_addon.relay.http2.client import Http2Client
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, silent
from tests.running import RunningEdge, running_edge
from tests.tls_engines import ENGINES, engine_of
from tests.tls_records import ALERT, APPLICATION_DATA, CLOSE_NOTIFY, HANDSHAKE, KEY_UPDATE, OddClient

CA = CertificateAuthority()
MAIN, SITE = CA.issue("edge.test"), CA.issue("a.test")
SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    settings = {
        "listeners": [
            {"kind": "https"},
            {"kind": "http"},
            {"kind": "https", "accept_proxy_protocol": True},
            {"kind": "imaps", "upstream": "127.0.0.1:9"},
        ],
        "upstream": "http://127.0.0.1:9",  # nobody listens there: a request that is relayed gets a 502
        "trusted_proxies": ["127.0.0.1/32"],
        "limits": {"handshake_seconds": 1},
        "access_log": {"path": "access.log"},
    }
    with running_edge(tmp_path_factory.mktemp("edge"), settings, {"main": MAIN, "a.test": SITE}) as running:
        wait_for(lambda: running.fingerprint("https", "a.test") == SITE.fingerprint, "the site is served")
        yield running


def connect(edge: RunningEdge, kind: str = "https", position: int = 0, *, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", edge.port(kind, position)), timeout=60, source_address=(source, 0))


def read_to_end(peer: socket.socket) -> bytes:
    received = b""
    while data := peer.recv(65536):
        received += data
    return received


def client_hello(server_name: str | None = "a.test", **versions: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def with_raw_server_name(name: bytes) -> bytes:
    """A ClientHello whose SNI holds these bytes, which Python's client would not send."""
    stand_in = "x" * (len(name) - 5) + ".test"
    hello = client_hello(stand_in)
    assert hello.count(stand_in.encode()) == 1
    return hello.replace(stand_in.encode(), name)


def alert_in(received: bytes) -> int | None:
    """The alert's description, if the answer is one TLS alert record."""
    if received[:1] != b"\x15":
        return None
    assert struct.unpack("!H", received[3:5]) == (2,)
    return received[6]


def request(host: str = "a.test", extra: str = "") -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{extra}\r\n".encode()


def over_tls(plain: socket.socket, server_name: str | None = "a.test") -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    context.check_hostname = server_name is not None
    return context.wrap_socket(plain, server_hostname=server_name)


def test_plain_http_on_a_tls_port_gets_an_explanation(edge: RunningEdge) -> None:
    with closing(connect(edge)) as peer:
        peer.sendall(request())
        answer = read_to_end(peer)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in head
    assert b"https" in body


@pytest.mark.parametrize(
    "junk",
    [b"\x00" * 100, b"\xff\xfe\xfd", b"\r\n\r\n", b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x00\x05hello", SIGNATURE_V2],
    ids=["zeros", "high bytes", "empty lines", "SSLv2 hello", "no hello in the record", "PROXY where none is accepted"],
)
def test_junk_on_a_tls_port_is_closed_without_a_page(edge: RunningEdge, junk: bytes) -> None:
    with closing(connect(edge)) as peer:
        peer.sendall(junk)
        answer = read_to_end(peer)

    assert not answer.startswith(b"HTTP")
    assert edge.fingerprint("https", "a.test") == SITE.fingerprint


def test_plain_text_on_an_implicit_tls_mail_port_gets_no_web_page(edge: RunningEdge) -> None:
    with closing(connect(edge, "imaps")) as peer:
        peer.sendall(b"a1 LOGIN me secret\r\n")

        assert not read_to_end(peer).startswith(b"HTTP")


def test_a_hello_that_trickles_in_is_served(edge: RunningEdge) -> None:
    hello = client_hello()
    with closing(connect(edge)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(hello)):
            peer.sendall(hello[position : position + 1])

        assert peer.recv(3)[:1] == b"\x16", "a ServerHello"


def test_a_hello_that_never_ends_is_cut_off(edge: RunningEdge) -> None:
    with closing(connect(edge)) as peer:
        peer.sendall(client_hello()[:-1])

        try:
            assert read_to_end(peer) == b""  # a time-out of the socket, ten times the limit, would fail the test
        except ConnectionResetError:
            pass


def test_tls_on_a_clear_port_is_refused(edge: RunningEdge) -> None:
    with closing(connect(edge, "http")) as peer:
        peer.sendall(client_hello())
        answer = read_to_end(peer)

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("name", ["192.0.2.1", "a_b.test", "-.test"])
def test_a_server_name_that_is_not_a_host_name_gets_main(edge: RunningEdge, name: str) -> None:
    hello = with_raw_server_name(name.encode())
    with closing(connect(edge)) as peer:
        peer.sendall(hello)

        assert peer.recv(3)[:1] == b"\x16"


@pytest.mark.parametrize("name", [b"a.te\x00st.", b"caf\xc3\xa9.test", b"\xff\xff\xff\xff\xff\xff"])
def test_names_that_openssl_refuses_get_an_alert_and_harm_no_other_client(edge: RunningEdge, name: bytes) -> None:
    with closing(connect(edge)) as peer:
        peer.sendall(with_raw_server_name(name))
        answer = read_to_end(peer)

    assert alert_in(answer) in (80, 112, 50)  # internal_error, unrecognized_name, decode_error
    assert edge.fingerprint("https", "a.test") == SITE.fingerprint


def test_an_old_tls_version_gets_the_alert_that_says_so(edge: RunningEdge) -> None:
    hello = client_hello(maximum_version=ssl.TLSVersion.TLSv1_2)
    old = hello[:9] + b"\x03\x01" + hello[11:]  # client_version of the handshake message: TLS 1.0
    with closing(connect(edge)) as peer:
        peer.sendall(old)
        answer = read_to_end(peer)

    assert alert_in(answer) == 70  # protocol_version


def test_an_unknown_name_can_be_refused_by_setting(tmp_path: Path) -> None:
    settings = {"listeners": [{"kind": "https"}], "tls": {"unknown_name": "reject"}}
    with running_edge(tmp_path, settings, {"main": MAIN}) as edge:
        with closing(connect(edge)) as peer:
            peer.sendall(client_hello("nobody.test"))
            refused = read_to_end(peer)

        assert alert_in(refused) == 112  # unrecognized_name
        assert edge.fingerprint("https", "edge.test") == MAIN.fingerprint
        assert edge.fingerprint("https", None) == MAIN.fingerprint


def test_a_client_that_sends_close_notify_after_its_request_still_gets_the_answer(edge: RunningEdge) -> None:
    with closing(connect(edge)) as plain, over_tls(plain) as secure:
        secure.sendall(request())
        with pytest.raises(ssl.SSLError, match=r"(?i)application data after close notify"):
            secure.unwrap()  # sends close_notify; the answer then arrives where the client waits for the same


def test_a_request_over_tls_is_relayed(edge: RunningEdge) -> None:
    """The control for the other tests: a relayed request ends at the missing upstream."""
    with closing(connect(edge)) as plain, over_tls(plain) as secure:
        secure.sendall(request())

        assert read_to_end(secure).startswith(b"HTTP/1.1 502 ")


def test_the_last_answer_and_close_notify_are_sent_in_one_piece(edge: RunningEdge) -> None:
    def pieces() -> int:
        """How many reads it took from the request to close_notify."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=CA.root_pem.decode())
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # no tickets after the handshake
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
        with closing(connect(edge)) as peer:
            while True:
                with suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                    break
                peer.sendall(outgoing.read())
                incoming.write(peer.recv(65536))
            tls.write(request())
            peer.sendall(outgoing.read())
            for count in itertools.count(1):
                incoming.write(peer.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    while tls.read(65536):
                        pass
                    return count
        raise AssertionError

    assert [pieces() for _ in range(20)] == [1] * 20


def test_a_proxy_header_and_the_hello_in_one_segment_are_both_read(edge: RunningEdge) -> None:
    header = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"
    with closing(connect(edge, "https", 1)) as peer:
        peer.sendall(header + client_hello())

        assert peer.recv(3)[:1] == b"\x16"


@pytest.mark.parametrize("cut", [1, 5, 13, 27])
def test_the_address_of_a_proxy_header_is_that_of_the_client(edge: RunningEdge, cut: int) -> None:
    client = f"203.0.113.{cut}"
    addresses = socket.inet_aton(client) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
    header = SIGNATURE_V2 + b"\x21\x11" + struct.pack("!H", len(addresses)) + addresses
    with closing(connect(edge, "https", 1)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.sendall(header[:cut])
        plain.sendall(header[cut:])
        with over_tls(plain) as secure:
            secure.sendall(request())
            assert read_to_end(secure).startswith(b"HTTP/1.1 502 ")

    log = edge.folder / "access.log"
    wait_for(lambda: f'"client":"{client}"' in log.read_text(), "the access log names the client")


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("127.0.0.2", b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"),
        ("127.0.0.1", b""),
        ("127.0.0.1", b"PROXY X\r\n"),
    ],
    ids=["untrusted peer", "no header from a trusted peer", "malformed header from a trusted peer"],
)
def test_without_a_valid_header_from_a_trusted_peer_nothing_is_served(
    edge: RunningEdge, source: str, first: bytes
) -> None:
    answer = b""
    try:
        with closing(connect(edge, "https", 1, source=source)) as peer:
            peer.sendall(first + client_hello())
            answer = read_to_end(peer)
    except (ConnectionResetError, BrokenPipeError):
        pass  # before, while or after it sent data

    assert answer == b""


def test_an_address_with_too_many_connections_is_refused_and_others_are_served(tmp_path: Path) -> None:
    mail = [{"kind": kind, "upstream": "127.0.0.1:9"} for kind in ("imap", "pop3", "submission", "sieve", "imaps")]
    settings = {"listeners": [{"kind": "https"}, {"kind": "http"}, *mail], "limits": {"connections_per_address": 3}}
    with running_edge(tmp_path, settings, {"main": MAIN}) as edge:
        connected = [connect(edge, "http") for _ in range(3)]
        with closing(connect(edge, "http")) as fourth:
            assert read_to_end(fourth).startswith(b"HTTP/1.1 503 ")
        for kind, words in {"imap": b"* BYE", "pop3": b"-ERR", "submission": b"421", "sieve": b"BYE"}.items():
            with closing(connect(edge, kind)) as another:
                assert read_to_end(another).startswith(words)
        # TLS would have to come first, so there is no answer: an end, or a reset as early as in connect().
        with suppress(ConnectionResetError), closing(connect(edge, "imaps")) as last:
            assert read_to_end(last) == b""
        with closing(connect(edge, "http", source="127.0.0.3")) as other:
            other.sendall(request("edge.test"))
            assert read_to_end(other).startswith(b"HTTP/1.1 30")
        for peer in connected:
            peer.close()

        wait_for(lambda: edge.fingerprint("https", "edge.test") == MAIN.fingerprint, "connections to be allowed again")


@in_loop
async def test_a_truncated_answer_ends_in_a_reset(tmp_path: Path) -> None:
    async def half(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        connection.finish()

    with Recorder(half) as recorder:
        async with relay_edge(tmp_path, f"http://127.0.0.1:{recorder.port}") as edge:
            reader, writer = await edge.connect()
            writer.write(b"GET / HTTP/1.0\r\nHost: edge.test\r\n\r\n")

            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 60)


@in_loop
async def test_starttls_on_a_connection_that_is_closing_does_not_open_it_again(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, "http://127.0.0.1:9") as edge:
        reader, _ = await edge.connect()
        await wait_for_in_loop(lambda: edge.plane.connections, "the client at the edge")
        (connection,) = connections_of(edge.plane)
        connection.close()
        connection.start_tls()
        connection.data_received(client_hello())
        assert not await asyncio.wait_for(reader.read(), 60)
        assert not edge.plane.counters


@pytest.mark.parametrize("kind", ["http", "https"])
@in_loop
async def test_a_connection_that_has_ended_is_freed_without_the_collector(kind: str, tmp_path: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        async with relay_edge(tmp_path, "http://127.0.0.1:9", kind=kind) as edge:
            await edge.send(request("edge.test"), server_name="edge.test" if kind == "https" else None)
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
            await wait_for_in_loop(lambda: not _living(), "the connection to be freed", seconds=60)
    finally:
        gc.enable()


@in_loop
async def test_an_http2_connection_is_freed_without_the_collector_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after requests that waited for an upstream connection in vain."""
    monkeypatch.setattr(opening_module, "LINE_SECONDS", 0.1)
    gc.collect()
    gc.disable()
    try:
        with Recorder(silent) as recorder:
            limits = {"upstream_connections": 1}
            async with relay_edge(tmp_path, recorder.url, kind="https", limits=limits) as edge:
                async with Http2Client(edge) as client:
                    client.request()
                    assert (await client.get()).status == 503
                await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
                await wait_for_in_loop(lambda: not _living(), "the connection to be freed", seconds=60)
    finally:
        gc.enable()


def _living() -> list[ClientConnection]:
    return [each for each in gc.get_objects() if type(each) is ClientConnection]


@in_loop
async def test_without_a_free_descriptor_a_client_gets_an_alert_and_no_other_certificate(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https", sites=[entry("a.test", "a.test")]) as edge:
            async with Http2Client(edge):
                pass  # main's certificate has been read
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of that connection")
            reader, writer = await edge.connect()
            await wait_for_in_loop(lambda: edge.plane.connections, "the connection")
            with no_free_descriptor():
                writer.write(client_hello("a.test"))
                answer = await asyncio.wait_for(reader.read(100), 60)
            assert answer == INTERNAL_ERROR
            assert edge.plane.counters["tls_out_of_files"] == 1


@asynccontextmanager
async def odd_request(
    edge: Edge, keylog: Path
) -> AsyncIterator[tuple[OddClient, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that awaits the answer to a request."""
    client = OddClient(keylog)
    reader, writer = await edge.connect()
    writer.write(client.hello())
    while not client.is_ready:
        writer.write(client.answer(await asyncio.wait_for(reader.read(65536), 60)))
    writer.write(client.record(request("edge.test"), APPLICATION_DATA))
    yield client, reader, writer


@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_an_answer_that_tls_can_not_send_ends_the_connection_and_nothing_else(
    tmp_path: Path, engine: EngineName
) -> None:
    """Half a message of the handshake stops OpenSSL from writing: the error must not end up in the upstream's code."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    may_answer = threading.Event()

    async def late(connection: Connection) -> None:
        await connection.read_head()
        await asyncio.to_thread(may_answer.wait, 60)
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with engine_of(engine), Recorder(late) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https") as edge:
            async with odd_request(edge, tmp_path / "keys") as (client, reader, writer):
                await wait_for_in_loop(lambda: recorder.connections, "the request")
                (connection,) = connections_of(edge.plane)
                seen: list[bytes] = []
                decrypt = connection._receive

                def receive(data: bytes) -> None:
                    decrypt(data)
                    seen.append(data)

                connection._receive = receive
                writer.write(client.record(KEY_UPDATE[:-1], HANDSHAKE))
                await wait_for_in_loop(lambda: seen, "half a message")
                may_answer.set()
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.read(), 60)
            await edge.counted("tls_broken")
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
    assert errors == []


@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_what_follows_close_notify_is_not_kept(tmp_path: Path, engine: EngineName) -> None:
    with engine_of(engine), Recorder(silent) as recorder:
        async with (
            relay_edge(tmp_path, recorder.url, kind="https") as edge,
            odd_request(edge, tmp_path / "keys") as (client, _, writer),
        ):
            await wait_for_in_loop(lambda: recorder.connections, "the request")
            (connection,) = connections_of(edge.plane)
            stage = connection._stage
            assert stage is not None
            writer.write(client.record(CLOSE_NOTIFY, ALERT))
            await wait_for_in_loop(lambda: connection._is_eof, "close_notify")
            connection.data_received(b"x" * 65536)
            assert connection._stage is stage, "the request is still under way"
            assert not stage.may_have_more


@pytest.mark.parametrize("engine", ENGINES)
@in_loop
async def test_answers_of_tls_itself_do_not_pile_up_for_a_client_that_does_not_read(
    tmp_path: Path, engine: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "UNREAD_LIMIT", 64 * 1024)
    with engine_of(engine), Recorder(silent) as recorder:
        async with (
            relay_edge(tmp_path, recorder.url, kind="https") as edge,
            odd_request(edge, tmp_path / "keys") as (client, _, writer),
        ):
            await wait_for_in_loop(lambda: recorder.connections, "the request")
            (connection,) = connections_of(edge.plane)
            for transport, option in ((writer.transport, socket.SO_RCVBUF), (connection._transport, socket.SO_SNDBUF)):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)
            cast(asyncio.Transport, writer.transport).pause_reading()
            for _ in range(100):
                writer.write(b"".join(client.key_update() for _ in range(200)))
                with suppress(ConnectionError):
                    await writer.drain()
                if edge.plane.counters["client_stalled"]:
                    break
            await edge.counted("client_stalled")
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
