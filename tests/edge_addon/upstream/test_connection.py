"""Which upstream connections are used again after a response."""

import asyncio
import select
import threading
from pathlib import Path

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import Edge, relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def get(edge: Edge, request: bytes = GET) -> bytes:
    return await edge.send(request, end=True)


@pytest.mark.parametrize(
    "response", [ok(b"ok", b"Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"]
)
@in_loop
async def test_connection_that_its_server_will_close_is_not_used_again(response: bytes, tmp_path: Path) -> None:
    with Recorder(answering(response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(3):
                assert (await get(edge)).endswith(b"ok")
            assert len(recorder.connections) == 3


@pytest.mark.parametrize(
    ("request_", "head"),
    [
        (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
    ids=["HEAD", "204", "304"],
)
@in_loop
async def test_connection_rests_after_an_answer_without_a_body_because_broken_servers_send_one(
    request_: bytes, head: bytes, tmp_path: Path
) -> None:
    """The body comes in the next segment, when another client's request could already be on the connection."""

    async def handle(connection: Connection) -> None:
        if len(recorder.connections) > 1:
            await answering(ok())(connection)
        await connection.read_head()
        await connection.write(head)
        await connection.read_head()  # only a connection that did not rest gets another request
        await connection.write(ok(b"evil"))

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge, request_)).startswith(head[:12])
            assert (await get(edge)).endswith(b"ok")


@in_loop
async def test_connection_is_used_again_after_its_rest(tmp_path: Path) -> None:
    with Recorder(answering(b"HTTP/1.1 304 Not Modified\r\n\r\n")) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            await get(edge)
            idle = edge.plane.upstream_pool("main").servers[0].idle
            await wait_for_in_loop(lambda: idle, "the connection in the pool")
            await get(edge)
            assert len(recorder.connections) == 1


@pytest.mark.parametrize("late", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b""], ids=["bytes", "the end"])
@in_loop
async def test_connection_with_unread_data_is_not_used_again(late: bytes, tmp_path: Path) -> None:
    """The loop reads it only after this request, because both came in the same iteration."""
    may_speak, has_spoken = threading.Event(), threading.Event()

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(ok())
        await asyncio.to_thread(may_speak.wait, 20)
        await connection.write(late)
        connection.finish()
        has_spoken.set()

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await get(edge)).endswith(b"ok")
            server = edge.plane.upstream_pool("main").servers[0]
            connection = next(iter(server.idle))
            assert connection.is_usable
            may_speak.set()
            has_spoken.wait(20)  # not awaited: the loop must not read
            arrival = select.poll()
            arrival.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
            assert arrival.poll(20_000)
            assert server.take_idle(0) is None
