"""HTTP/1 when one side stops in the middle: neither a client nor an upstream occupies anything for long."""

import asyncio
import socket
from pathlib import Path

import pytest

from edge_addon.http import body_rate
from edge_addon.listeners import connection
from edge_addon.relay import http1
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import relay_edge, stands_still
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok

SIZE = 30_000_000
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % SIZE


async def hanging(connection: Connection) -> None:
    """Read nothing of a body, like a server whose threads are all stuck."""
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


@pytest.mark.parametrize("on_peer_gone", [False, True], ids=["waits", "has gone"])
@in_loop
async def test_upstream_that_takes_no_body_is_given_up(
    on_peer_gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the edge does not read from the client, so it can't notice that the client has gone."""
    monkeypatch.setattr(http1, "STALL_SECONDS", 0.5)
    with Recorder(hanging) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(POST + b"x" * SIZE)
            await stands_still(writer.transport.get_write_buffer_size, 0.2)
            if on_peer_gone:
                writer.transport.abort()
            else:
                assert (await reader.readline()).startswith(b"HTTP/1.1 504 ")
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the client's connection")
            assert edge.plane.counters["upstream_timed_out"] == 1


@in_loop
async def test_client_that_does_not_read_is_cut_off_even_if_the_answer_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "STALL_SECONDS", 0.5)
    with Recorder(answering(ok(b"x" * 200_000))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            _, writer = await edge.connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await wait_for_in_loop(lambda: edge.plane.connections, "the connection on the edge's side")
            (connection,) = connections_of(edge.plane)
            for transport in (connection._transport, writer.transport):
                # Otherwise the system would take all of it.
                ours = transport.get_extra_info("socket")
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the client's connection")
            assert edge.plane.counters["client_stalled"] == 1


@in_loop
async def test_client_that_has_read_its_answer_may_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: silence between requests is no stall."""
    monkeypatch.setattr(http1, "STALL_SECONDS", 0.5)
    with Recorder(answering(ok(b"y" * 1_000_000))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(1_000_000)
                await asyncio.sleep(2.5)  # the test shows that nothing happens; timers count in seconds
            assert not edge.plane.counters
            writer.close()


@in_loop
async def test_client_that_reads_the_end_of_its_answer_late_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow line may move nothing between two checks, which is not yet a reason to cut the connection."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.1)
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, _ = await edge.connect()
            await wait_for_in_loop(lambda: edge.plane.connections, "the client at the edge")
            client = next(iter(connections_of(edge.plane)))
            client.write(bytes(SIZE))
            client.close()
            await stands_still(client._transport.get_write_buffer_size, seconds=2.5)
            assert len(await asyncio.wait_for(reader.read(), 60)) == SIZE


@pytest.mark.parametrize(("step", "status"), [(2, b"200"), (50, b"408")], ids=["slow", "too slow"])
@in_loop
async def test_body_that_trickles_in_must_keep_a_least_rate(
    step: int, status: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then would keep the connection open without end."""
    monkeypatch.setattr(http1, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(body_rate, "BODY_STEP", step)

    async def handle(connection: Connection) -> None:
        await connection.read_until(b"end")
        await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            answer = asyncio.ensure_future(reader.readline())
            for _ in range(40):
                writer.write(b"1\r\nx\r\n")
                if (await asyncio.wait({answer}, timeout=0.1))[0]:
                    break
            else:
                writer.write(b"3\r\nend\r\n0\r\n\r\n")
            assert (await answer).startswith(b"HTTP/1.1 " + status)


@in_loop
async def test_channel_of_outlook_anywhere_may_trickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "STALL_SECONDS", 0.3)

    async def handle(connection: Connection) -> None:
        await connection.read_until(b"end")
        await connection.write(ok())

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(
                b"RPC_IN_DATA /rpc/rpcproxy.dll HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1073741824\r\n\r\n"
            )
            answer = asyncio.ensure_future(reader.readline())
            for _ in range(3):
                writer.write(b"x")
                assert not (await asyncio.wait({answer}, timeout=0.5))[0]
            writer.write(b"end")
            assert (await asyncio.wait_for(answer, 60)).startswith(b"HTTP/1.1 200")
