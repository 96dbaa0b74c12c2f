"""Requests whose connection is lost without an answer: which ones are sent again."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from edge_addon.upstream.connection import UpstreamConnection
from edge_addon.upstream.pool import Server
from edge_addon.upstream.resend import has_arrived, may_send_again
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok
from tests.ports import listening_socket

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody"


@pytest.mark.parametrize(
    ("is_repeatable", "is_reused", "has_others", "arrived", "again"),
    [
        pytest.param(True, True, False, True, True, id="a GET on a connection that went stale"),
        pytest.param(True, False, False, True, False, id="a GET that the only server hung up on"),
        pytest.param(True, False, True, True, True, id="a GET that one of several servers hung up on"),
        pytest.param(False, True, True, True, False, id="a POST that may have been done"),
        pytest.param(False, True, False, False, True, id="a POST that never arrived"),
        pytest.param(False, False, False, False, True, id="a POST that never arrived on a new connection"),
    ],
)
def test_second_try(*, is_repeatable: bool, is_reused: bool, has_others: bool, arrived: bool, again: bool) -> None:
    assert again is may_send_again(
        is_repeatable=is_repeatable, is_reused=is_reused, has_others=has_others, has_arrived=arrived
    )


class _Bound:
    """A transport that only gives its socket."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._bound if name == "socket" else None


@pytest.mark.parametrize("has_closed", [True, False], ids=["after its end", "before its end"])
def test_tcp_shows_what_a_server_has_received(has_closed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        ours.sendall(GET)
        assert theirs.recv(1000) == GET
        theirs.sendall(ok())
        ours.recv(1000)
        if has_closed:
            theirs.close()
        ours.sendall(POST)
        if not has_closed:
            assert theirs.recv(1000) == POST
            theirs.close()
        assert has_arrived(_Bound(ours), len(POST)) is not has_closed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comes", "status"), [("after its end", b"200"), ("before its end", b"502"), ("before its reset", b"502")]
)
@in_loop
async def test_post_on_a_connection_that_its_server_closes_at_that_moment(
    comes: str, status: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a request that the server never received is sent again."""
    monkeypatch.setattr(UpstreamConnection, "_has_unread", lambda _: False)
    with listening_socket() as listener:
        listener.settimeout(20)
        async with relay_edge(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}") as edge:
            reader, writer = await edge.connect()
            writer.write(GET)
            theirs, _ = await asyncio.to_thread(listener.accept)
            assert (await asyncio.to_thread(theirs.recv, 1000)).startswith(b"GET ")
            theirs.sendall(ok())
            await reader.readuntil(b"\r\n\r\nok")
            upstream = next(iter(edge.plane.upstream_pool("main").servers[0].idle)).transport
            upstream.pause_reading()  # the loop reads the end only later
            if comes == "after its end":
                theirs.close()
            writer.write(POST)
            if comes != "after its end":
                assert (await asyncio.to_thread(theirs.recv, 1000)).startswith(b"POST ")
                if comes == "before its reset":
                    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                theirs.close()
            else:
                await wait_for_in_loop(lambda: not edge.plane.upstream_pool("main").servers[0].idle, "the POST")
            upstream.resume_reading()
            if status == b"200":
                again, _ = await asyncio.to_thread(listener.accept)
                with again:
                    assert (await asyncio.to_thread(again.recv, 1000)).endswith(b"body")
                    again.sendall(ok(b"done"))
                    assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"done"), 60)
                assert not edge.plane.counters
            else:
                assert b"HTTP/1.1 502 " in await asyncio.wait_for(reader.readline(), 60)
                listener.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    listener.accept()


@pytest.mark.parametrize("is_chunked", [False, True], ids=["large", "of unknown length"])
@in_loop
async def test_upload_that_is_not_kept_gets_a_new_connection(is_chunked: bool, tmp_path: Path) -> None:
    """The server may be closing a pooled connection right now, and the upload could not be sent again."""

    async def handle(connection: Connection) -> None:
        while True:
            await connection.read_head()
            if b"POST" in connection.received:
                await connection.read_until(b"0\r\n\r\n" if is_chunked else b"end")
            await connection.write(ok())

    body = bytes(70_000) + b"end"
    upload = b"POST / HTTP/1.1\r\nHost: a.test\r\n"
    if is_chunked:
        upload += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        upload += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            for request in (GET, GET, upload):
                writer.write(request)
                await reader.readuntil(b"\r\n\r\nok")
            first, second = recorder.connections
            assert first.received.count(b"GET / ") == 2
            assert len(second.received) > 70_000


@in_loop
async def test_get_on_which_one_of_several_servers_closes_goes_to_another(tmp_path: Path) -> None:
    """A server that restarts resets the connections in its backlog."""

    async def hang_up(connection: Connection) -> None:
        await connection.read_head()
        connection.reset()

    with Recorder(hang_up) as bad, Recorder(answering(ok(b"good"))) as good:
        async with relay_edge(tmp_path, [bad.url, good.url]) as edge:
            for _ in range(4):
                assert (await edge.send(GET, end=True)).endswith(b"good")
            got = await edge.send(POST, end=True)
            while not bad.received.endswith(b"body"):
                got = await edge.send(POST, end=True)
            assert got.startswith(b"HTTP/1.1 502 ")


@in_loop
async def test_unexpected_error_while_connecting_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_: Server) -> UpstreamConnection:
        raise UnicodeError("a fault that nobody foresaw")

    monkeypatch.setattr(Server, "connect", connect)
    async with relay_edge(tmp_path, "http://127.0.0.1:9") as edge:
        assert (await asyncio.wait_for(edge.send(GET, end=True), 60)).startswith(b"HTTP/1.1 502 ")
