"""Connections to upstreams: reused, closed, retried at most once, balanced over several, verified by TLS."""

import ssl
from pathlib import Path

import pytest

from edge_addon.relay import exchange as exchange_module
from edge_addon.upstream import pool as upstream_module
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import Edge, relay_edge, stands_still
from tests.loops import in_loop
from tests.peers.recorder import Connection, Handler, Recorder, answering, ok, silent
from tests.ports import free_port

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def closing_after(count: int) -> Handler:
    """Answer `count` requests on each connection, read one more head, close without an answer."""

    async def handle(connection: Connection) -> None:
        for _ in range(count):
            await connection.read_head()
            await connection.write(ok())
        await connection.read_head()
        connection.finish()

    return handle


async def get(edge: Edge, request: bytes = GET) -> bytes:
    return await edge.send(request, end=True)


@in_loop
async def test_connection_is_used_again_by_the_next_client(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(5):
                assert (await get(edge)).endswith(b"ok")
            assert len(recorder.connections) == 1


@in_loop
async def test_request_on_a_stale_connection_is_sent_again_once_on_a_fresh_one(tmp_path: Path) -> None:
    with Recorder(closing_after(1)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(4):
                assert (await get(edge)).endswith(b"ok")
            assert recorder.received.count(b"GET") == 7
            assert not edge.plane.counters


@in_loop
async def test_a_request_is_never_sent_a_third_time(tmp_path: Path) -> None:
    closed: list[Connection] = []

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        if len(recorder.connections) == 1:
            await connection.write(ok())
            await connection.read_head()
        closed.append(connection)
        connection.finish()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge)).endswith(b"ok")
            assert (await get(edge)).startswith(b"HTTP/1.1 502 ")
            assert len(closed) == 2


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
        b"MAIL / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ],
    ids=["POST", "POST without content", "PUT with content", "unknown method"],
)
@in_loop
async def test_request_that_may_have_been_processed_is_never_sent_again(request_: bytes, tmp_path: Path) -> None:
    with Recorder(closing_after(1)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge)).endswith(b"ok")
            assert (await get(edge, request_)).startswith(b"HTTP/1.1 502 ")
            assert recorder.received.count(b" / HTTP/1.1") == 2


@in_loop
async def test_request_whose_response_has_begun_is_never_sent_again(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(ok())
        await connection.read_head()
        await connection.write(b"HTTP/1.1 2")
        connection.finish()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge)).endswith(b"ok")
            assert (await get(edge)).startswith(b"HTTP/1.1 502 ")
            assert len(recorder.connections) == 1


@in_loop
async def test_request_that_may_not_be_sent_twice_takes_no_long_idle_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may be closing it at this moment, and nobody could tell whether it received the request."""
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            post = GET.replace(b"GET", b"POST")
            await get(edge)
            await get(edge, post)
            assert len(recorder.connections) == 1
            monkeypatch.setattr(exchange_module, "POOL_FRESH_SECONDS", -1)
            await get(edge)
            assert len(recorder.connections) == 1
            await get(edge, post)
            assert len(recorder.connections) == 2


@in_loop
async def test_idle_connections_are_closed_after_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "POOL_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(upstream_module, "POOL_CLEANUP_SECONDS", 0.2)
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            await get(edge)
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the idle connection")
            await get(edge)
            assert len(recorder.connections) == 2


@in_loop
async def test_closed_pool_keeps_no_connections(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            await get(edge)
            edge.plane.upstream_pool("main").close()
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the idle connection")
            assert (await get(edge)).endswith(b"ok")
            await wait_for_in_loop(lambda: recorder.connections[1].is_over, "the end of the used connection")


@in_loop
async def test_upstream_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, f"http://127.0.0.1:{free_port()}") as edge:
        got = await get(edge)
        assert got.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"127.0.0.1" not in got
        assert edge.plane.counters == {"upstream_connect_failed": 1, "upstream_unreachable": 1}


@in_loop
async def test_upstream_that_accepts_no_connection_in_time_is_a_504(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TLS upstream that sends nothing: there is no connection until its handshake is complete."""
    monkeypatch.setattr(upstream_module, "CONNECT_SECONDS", 0.3)
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url.replace("http:", "https:")) as edge:
            assert (await get(edge)).startswith(b"HTTP/1.1 504 ")
            assert edge.plane.counters["upstream_connect_timeout"] == 1


@in_loop
async def test_body_waits_until_the_connection_is_there(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_until(b"end")
        await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            body = b"x" * 5_000_000 + b"end"
            got = await edge.send(
                b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert got.endswith(b"ok")
            assert recorder.received.endswith(b"\r\n\r\n" + body)


@in_loop
async def test_client_is_not_read_from_while_there_is_no_connection_to_take_its_body(tmp_path: Path) -> None:
    """A TLS upstream that sends nothing: there is no connection until its handshake is complete."""
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url.replace("http:", "https:")) as edge:
            _, writer = await edge.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 50_000_000)
            await stands_still(writer.transport.get_write_buffer_size)
            assert writer.transport.get_write_buffer_size() > 30_000_000


@in_loop
async def test_requests_go_to_the_server_with_the_fewest_under_way(tmp_path: Path) -> None:
    with Recorder(silent) as busy, Recorder(answering(ok())) as free:
        async with relay_edge(tmp_path, [busy.url, free.url]) as edge:
            _, writer = await edge.connect()
            writer.write(GET)
            await wait_for_in_loop(lambda: busy.received + free.received, "the first request")
            for _ in range(4):
                assert (await get(edge)).endswith(b"ok")
            assert busy.received.count(b"GET") == 1


@in_loop
async def test_server_that_refuses_connections_gets_no_requests_until_it_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "FAILED_SECONDS", 3600)
    missing = tmp_path / "missing"
    with Recorder(answering(ok(b"there"))) as there:
        async with relay_edge(tmp_path, [f"unix:{missing}", there.url]) as edge:
            for _ in range(5):
                assert (await get(edge)).endswith(b"there")
            assert edge.plane.counters == {"upstream_connect_failed": 1}
    monkeypatch.setattr(upstream_module, "FAILED_SECONDS", -1)
    with Recorder(answering(ok(b"there", b"Connection: close"))) as there:
        async with relay_edge(tmp_path, [f"unix:{missing}", there.url]) as edge:
            await get(edge)
            with Recorder(answering(ok(b"back")), unix=missing):
                assert (await get(edge)).endswith(b"back")


@in_loop
async def test_when_all_servers_are_marked_each_is_still_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "FAILED_SECONDS", 3600)
    first, second = tmp_path / "first", tmp_path / "second"
    async with relay_edge(tmp_path, [f"unix:{first}", f"unix:{second}"]) as edge:
        assert (await get(edge)).startswith(b"HTTP/1.1 502 ")
        assert edge.plane.counters["upstream_connect_failed"] == 2
        with Recorder(answering(ok(b"back")), unix=second):
            assert (await get(edge)).endswith(b"back")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@in_loop
async def test_upstream_on_ipv4_and_ipv6(host: str, tmp_path: Path) -> None:
    with Recorder(answering(ok()), host=host) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge)).endswith(b"ok")


@in_loop
async def test_upstream_on_a_unix_socket(tmp_path: Path) -> None:
    with Recorder(answering(ok()), unix=tmp_path / "socket") as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(3):
                assert (await get(edge)).endswith(b"ok")
            assert len(recorder.connections) == 1


def server_tls(folder: Path, authority: CertificateAuthority, name: str, *, ask: bool = False) -> ssl.SSLContext:
    authority.issue(name).write_to(folder / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / name / "fullchain.pem", folder / name / "privkey.pem")
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority.root_pem.decode())
    return context


@pytest.mark.parametrize(
    ("name", "ca_file", "status"),
    [
        ("localhost", "ca.pem", b"200"),
        ("other.test", "ca.pem", b"502"),
        ("localhost", "other-ca.pem", b"502"),
        ("localhost", None, b"502"),
    ],
    ids=["right name, right CA", "wrong name", "wrong CA", "system trust only"],
)
@in_loop
async def test_https_upstream_is_verified(name: str, ca_file: str | None, status: bytes, tmp_path: Path) -> None:
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    (tmp_path / "other-ca.pem").write_bytes(CertificateAuthority("Other").root_pem)
    with Recorder(answering(ok()), tls=server_tls(tmp_path, authority, name)) as recorder:
        upstream = {"url": f"https://localhost:{recorder.port}", "ca_file": ca_file}
        async with relay_edge(tmp_path, [upstream]) as edge:
            assert (await get(edge)).startswith(b"HTTP/1.1 " + status)
            assert bool(recorder.received) == (status == b"200")
            assert edge.plane.counters["upstream_tls_failed"] == (status == b"502")


@pytest.mark.parametrize(
    ("expected", "shown", "status"),
    [("mail.test", "mail.test", b"200"), ("mail.test", "localhost", b"502"), (None, "mail.test", b"502")],
    ids=["the name that is asked for", "that of its address", "none is asked for"],
)
@in_loop
async def test_https_upstream_may_have_a_name_that_is_not_its_address(
    expected: str | None, shown: str, status: bytes, tmp_path: Path
) -> None:
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    with Recorder(answering(ok()), tls=server_tls(tmp_path, authority, shown)) as recorder:
        upstream = {"url": f"https://localhost:{recorder.port}", "ca_file": "ca.pem", "name": expected}
        async with relay_edge(tmp_path, [upstream]) as edge:
            assert (await get(edge)).startswith(b"HTTP/1.1 " + status)


@in_loop
async def test_https_upstream_gets_our_client_certificate_when_there_is_one(tmp_path: Path) -> None:
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    mine = authority.issue("edge.test", extended_key_usage=None)
    (tmp_path / "mine.pem").write_bytes(mine.combined_pem)
    with Recorder(answering(ok()), tls=server_tls(tmp_path, authority, "localhost", ask=True)) as recorder:
        upstream = {"url": f"https://localhost:{recorder.port}", "ca_file": "ca.pem"}
        async with relay_edge(tmp_path, [{**upstream, "client_cert": "mine.pem"}]) as edge:
            assert (await get(edge)).endswith(b"ok")
        async with relay_edge(tmp_path, [upstream]) as edge:
            assert (await get(edge)).startswith(b"HTTP/1.1 502 ")
