"""The same response of an upstream, as each client needs it to be framed."""

from pathlib import Path

import pytest

from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nbody"
NEW = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: edge.test\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nHost: edge.test\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: edge.test\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "response", "has", "has_not"),
    [
        pytest.param(NEW, LENGTH, [b"content-length: 4"], [b"connection:", b"chunked"], id="1.1, a length"),
        pytest.param(LAST, LENGTH, [b"content-length: 4", b"connection: close"], [], id="1.1, the last request"),
        pytest.param(NEW, UNTIL_CLOSE, [b"transfer-encoding: chunked"], [b"connection: close"], id="1.1, no length"),
        pytest.param(OLD, LENGTH, [b"content-length: 4", b"connection: close"], [b"keep-alive"], id="1.0, a length"),
        pytest.param(OLD_KEPT, LENGTH, [b"connection: keep-alive"], [b"close"], id="1.0 that goes on, a length"),
        pytest.param(OLD, UNTIL_CLOSE, [b"connection: close"], [b"chunked", b"content-length"], id="1.0, no length"),
        pytest.param(HEAD, LENGTH[:-4], [b"content-length: 4"], [], id="HEAD"),
    ],
)
@in_loop
async def test_a_response_is_framed_for_its_client(
    tmp_path: Path, request_head: bytes, response: bytes, has: list[bytes], has_not: list[bytes]
) -> None:
    async def by_method(connection: Connection) -> None:
        while True:
            is_head = (await connection.read_head()).startswith(b"HEAD ")
            await connection.write(response if is_head or request_head != HEAD else LENGTH)
            if response == UNTIL_CLOSE:
                connection.finish()
                return

    with Recorder(by_method) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            received = await edge.send(request_head + LAST)  # which ends the connection if the first did not
    head, _, rest = received.lower().partition(b"\r\n\r\n")
    assert head.startswith(b"http/1.1 200 ")
    assert [each for each in has if each not in head] == []
    assert [each for each in has_not if each in head] == []
    assert rest.startswith(b"http/1.1 200") is (request_head == HEAD)
    assert b"body" in rest


@pytest.mark.parametrize(
    ("head", "is_passed_on"),
    [
        pytest.param(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n", True, id="a client that waits for it"),
        pytest.param(b"POST / HTTP/1.1\r\n", False, id="one that does not"),
        pytest.param(b"POST / HTTP/1.0\r\n", False, id="one that can't know it"),
    ],
)
@in_loop
async def test_100_reaches_only_a_client_that_waits_for_it(tmp_path: Path, head: bytes, is_passed_on: bool) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read_until(b"body")
        await connection.write(LENGTH)

    with Recorder(answer) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            received = await edge.send(head + b"Host: edge.test\r\nContent-Length: 4\r\n\r\nbody", end=True)
    assert (b" 100 Continue" in received) is is_passed_on
    assert received.endswith(b"body")
