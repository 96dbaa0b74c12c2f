"""Any cut of requests and responses into packets gives each side the same messages."""

import asyncio
import tempfile
from pathlib import Path

import h11
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.edge_addon.http.test_chunks import split
from tests.edge_addon.relay.edge import relay_edge
from tests.peers.recorder import Connection, Recorder

Trailers = list[tuple[bytes, bytes]]

REQUESTS = (
    b"\r\nPOST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\nhello world"
    b"GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;x\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
    b"GET /d HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
)
RESPONSES = {
    b"/a": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst!",
    b"/b": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nsec\r\n3;y\r\nond\r\n0\r\nX-U: 2\r\n\r\n",
    b"/c": b"HTTP/1.1 204 No Content\r\n\r\n",
    b"/d": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
}
MESSAGES: list[tuple[bytes, bytes, bytes, Trailers]] = [
    (b"POST", b"/a", b"hello world", []),
    (b"GET", b"/b", b"", []),
    (b"PUT", b"/c", b"hello world", [(b"x-t", b"1")]),
    (b"GET", b"/d", b"", []),
]
ANSWERS: list[tuple[int, bytes, Trailers]] = [
    (200, b"first!", []),
    (103, b"", []),
    (200, b"second", [(b"x-u", b"2")]),
    (204, b"", []),
    (200, b"until the end", []),
]


class Upstream:
    """Read requests with h11 and answer with `RESPONSES` in pieces."""

    def __init__(self, cuts: list[int]) -> None:
        self.cuts = cuts
        self.received: list[tuple[bytes, bytes, bytes, Trailers]] = []

    async def handle(self, connection: Connection) -> None:
        reader = h11.Connection(h11.SERVER)
        while True:
            method, target, body, trailers = await self.read(connection, reader)
            self.received.append((method, target, body, trailers))
            for piece in split(RESPONSES[target], self.cuts):
                await connection.write(piece)
                await asyncio.sleep(0)
            if target == b"/d":
                connection.finish()
                return
            reader.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            reader.send(h11.EndOfMessage())
            reader.start_next_cycle()

    @staticmethod
    async def read(connection: Connection, reader: h11.Connection) -> tuple[bytes, bytes, bytes, Trailers]:
        method = target = body = b""
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                data = await connection.read()
                if not data:
                    raise EOFError
                reader.receive_data(data)
            elif isinstance(event, h11.Request):
                method, target = event.method, event.target
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage)
                return method, target, body, list(event.headers)


def read_answers(got: bytes) -> list[tuple[int, bytes, Trailers]]:
    answers: list[tuple[int, bytes, Trailers]] = []
    for _ in MESSAGES:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a.test")]))
        client.send(h11.EndOfMessage())
        client.receive_data(got)
        while isinstance(head := client.next_event(), h11.InformationalResponse):
            answers.append((head.status_code, b"", []))
        assert isinstance(head, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        answers.append((head.status_code, body, list(event.headers)))
        got = client.trailing_data[0]
    assert got == b""
    return answers


async def exchange(folder: Path, request_cuts: list[int], response_cuts: list[int]) -> None:
    upstream = Upstream(response_cuts)
    with Recorder(upstream.handle) as recorder:
        async with relay_edge(folder, recorder.url) as edge:
            reader, writer = await edge.connect()
            got = asyncio.ensure_future(reader.read())
            for piece in split(REQUESTS, request_cuts):
                writer.write(piece)
                await asyncio.sleep(0)
            assert read_answers(await asyncio.wait_for(got, 60)) == ANSWERS
            assert upstream.received == MESSAGES
            assert not edge.plane.counters


CUTS = st.lists(st.integers(0, 10_000), max_size=30)


@settings(max_examples=60)
@given(CUTS, CUTS)
@example([], [])
@example(list(range(1000)), list(range(1000)))
def test_any_split_of_both_streams_gives_the_same_messages(request_cuts: list[int], response_cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exchange(Path(folder), request_cuts, response_cuts))
