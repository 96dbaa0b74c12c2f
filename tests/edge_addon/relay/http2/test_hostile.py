"""Hostile HTTP/2 in hand-made frames: the right error code, no harm to other clients, constant memory."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import main_site, stands_still
from tests.edge_addon.relay.http2.raw import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    START,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    RawHttp2,
    block,
    frame,
    get,
    head,
    ping,
    post,
    reset,
    settings,
    window_update,
)  # fmt: skip
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, ok
from tests.running import RunningEdge, running_edge

MARGIN = 6 * 2**20
"""The most that a worker's memory may change over a case: the allocator's noise, nothing that a case leaves."""
FIRST = START + get(1)
OPEN = START + post(1, b"/hang")
WHOLE = END_STREAM | END_HEADERS


@dataclass(frozen=True)
class Case:
    """What is sent after the preface, and the result. Without `goaway` the connection goes on."""

    sent: bytes
    goaway: int | None = None
    resets: dict[int, int] = field(default_factory=dict)


def streams(first: int, count: int) -> range:
    return range(first, first + 2 * count, 2)


def many(*frames: bytes, times: int) -> bytes:
    return b"".join(frames) * times


CALM = ENHANCE_YOUR_CALM
CASES: dict[str, Case] = {
    # Floods: cheap for the client, expensive for us.
    "rapid reset": Case(START + b"".join(get(each, b"/hang") + reset(each) for each in streams(1, 2000)), CALM),
    "resets of streams that are over": Case(FIRST + many(reset(1), times=2000), CALM),
    "resets that zero increments make us send": Case(
        START + b"".join(get(each, b"/hang") + window_update(0, each) for each in streams(1, 2000)), CALM),
    "resets that window overflows make us send": Case(
        START + b"".join(get(each, b"/hang") + window_update(2**31 - 1, each) for each in streams(1, 2000)), CALM),
    "resets that late DATA makes us send": Case(
        START + b"".join(get(each, b"/hang") + frame(DATA, b"x", stream=each) for each in streams(1, 2000)), CALM),
    "resets that late HEADERS make us send": Case(
        START + b"".join(get(each, b"/hang") * 2 for each in streams(1, 2000)), CALM),
    "streams beyond the limit without end": Case(
        START + b"".join(get(each, b"/hang") for each in streams(1, 3000)), CALM),
    "DATA without end for a stream that was reset": Case(
        START + get(1, b"/hang") + reset(1) + many(frame(DATA, b"x", stream=1), times=4000), CALM),
    "malformed requests without end": Case(
        START + b"".join(frame(HEADERS, block((b"x", b"y")), stream=each, flags=WHOLE) for each in streams(1, 2000)),
        CALM),
    "CONTINUATION without end": Case(
        START + frame(HEADERS, head(), stream=1) + many(frame(CONTINUATION, b"\0" * 1000, stream=1), times=2000), CALM),
    "CONTINUATION of nothing without end": Case(
        START + frame(HEADERS, head(), stream=1) + many(frame(CONTINUATION, stream=1), times=5000), CALM),
    "CONTINUATION that ends too late": Case(
        START + frame(HEADERS, head(), stream=1) + many(frame(CONTINUATION, b"\0" * 16000, stream=1), times=5)
        + frame(CONTINUATION, stream=1, flags=END_HEADERS), CALM),
    "SETTINGS without end": Case(START + many(settings((4, 65535)), times=5000), CALM),
    "SETTINGS of nothing without end": Case(START + many(settings(), times=5000), CALM),
    "acknowledged SETTINGS without end": Case(START + many(frame(SETTINGS, flags=ACK), times=5000), CALM),
    "PING without end": Case(START + many(ping(b"flooding"), times=5000), CALM),
    "PING answers without end": Case(START + many(ping(b"flooding", flags=ACK), times=5000), CALM),
    "PRIORITY without end": Case(START + many(frame(PRIORITY, bytes(5), stream=3), times=5000), CALM),
    "unknown frames without end": Case(START + many(frame(0xBE, b"what"), times=5000), CALM),
    "GOAWAY without end": Case(OPEN + many(frame(GOAWAY, bytes(8)), times=5000), CALM),
    "empty DATA without end": Case(OPEN + many(frame(DATA, stream=1), times=5000), CALM),
    "DATA of padding without end": Case(
        OPEN + many(frame(DATA, bytes((9,)) + bytes(9), stream=1, flags=PADDED), times=5000), CALM),
    "WINDOW_UPDATE without end": Case(START + many(window_update(1), times=20_000), CALM),
    "WINDOW_UPDATE of an ended stream without end": Case(FIRST + many(window_update(1, 1), times=20_000), CALM),
    # Tables and header lists.
    "header table of 4 GB": Case(START + settings((1, 2**32 - 1)) + get(1)),
    "header table of nothing": Case(START + settings((1, 0)) + get(1)),
    "65,535 unknown settings": Case(
        START + b"".join(settings(*((code, 1) for code in range(start, min(start + 2500, 65536))))
                         for start in range(16, 65536, 2500)) + get(1)),
    "table size update beyond ours": Case(
        START + frame(HEADERS, b"\x3f\xe2\x1f" + head(), stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "table size update behind a field": Case(
        START + frame(HEADERS, head() + b"\x20", stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "table size updates without end": Case(
        START + frame(HEADERS, b"\x20" * 16000, stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "a bomb of references": Case(
        START + frame(HEADERS, b"\x40\x01a\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 10_000, stream=1, flags=WHOLE), CALM),
    "header list too large": Case(
        START + frame(HEADERS, head() + b"\0\x01a\x7f\x91\x7d" + b"v" * 16016, stream=1)
        + b"".join(frame(CONTINUATION, b"\0\x01a\x7f\x91\x7d" + b"v" * 16016, stream=1) for _ in range(3))
        + frame(CONTINUATION, b"\0\x01a\x7f\x91\x7d" + b"v" * 16016, stream=1, flags=END_HEADERS), CALM),
    "index 0": Case(START + frame(HEADERS, b"\x80", stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "index of nothing": Case(START + frame(HEADERS, b"\xff\x80\x01", stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "a number without end": Case(
        START + frame(HEADERS, b"\xff" + b"\xff" * 10_000, stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "a text longer than its block": Case(
        START + frame(HEADERS, b"\0\x01a\x7f\xff\xff\xff\x07", stream=1, flags=WHOLE), COMPRESSION_ERROR),
    "Huffman code that is none": Case(
        START + frame(HEADERS, b"\0\x01a\x84\xff\xff\xff\xff", stream=1, flags=WHOLE), COMPRESSION_ERROR),
    # Windows.
    "window of the connection beyond 2^31": Case(START + window_update(2**31 - 1), FLOW_CONTROL_ERROR),
    "window of a stream beyond 2^31": Case(OPEN + window_update(2**31 - 1, 1), None, {1: FLOW_CONTROL_ERROR}),
    "increment of nothing": Case(START + window_update(0), PROTOCOL_ERROR),
    "increment of nothing for a stream": Case(OPEN + window_update(0, 1), None, {1: PROTOCOL_ERROR}),
    "initial window that overflows an open stream": Case(
        OPEN + window_update(2**31 - 1 - 65535, 1) + settings((4, 70_000)), FLOW_CONTROL_ERROR),
    "much DATA for a WebSocket that nobody has agreed to yet": Case(
        START + frame(HEADERS, head(b"/hang", method=b"CONNECT", protocol=b"websocket"), stream=1, flags=END_HEADERS)
        + many(frame(DATA, bytes(16384), stream=1), times=17), None, {1: ENHANCE_YOUR_CALM}),
    # Invalid settings.
    "ENABLE_PUSH 2": Case(START + settings((2, 2)), PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE 2^31": Case(START + settings((4, 2**31)), FLOW_CONTROL_ERROR),
    "MAX_FRAME_SIZE 1": Case(START + settings((5, 1)), PROTOCOL_ERROR),
    "MAX_FRAME_SIZE 2^24": Case(START + settings((5, 2**24)), PROTOCOL_ERROR),
    "ENABLE_CONNECT_PROTOCOL 2": Case(START + settings((8, 2)), PROTOCOL_ERROR),
    # Lengths.
    "a frame of 16 MB is announced": Case(START + frame(DATA, stream=1, length=2**24 - 1), FRAME_SIZE_ERROR),
    "a header frame beyond MAX_FRAME_SIZE": Case(START + frame(HEADERS, stream=1, length=16385), FRAME_SIZE_ERROR),
    "an unknown frame beyond MAX_FRAME_SIZE": Case(START + frame(0xBE, length=16385), FRAME_SIZE_ERROR),
    "PING of 7 bytes": Case(START + frame(PING, bytes(7)), FRAME_SIZE_ERROR),
    "PING of 9 bytes": Case(START + frame(PING, bytes(9)), FRAME_SIZE_ERROR),
    "RST_STREAM of 3 bytes": Case(OPEN + frame(RST_STREAM, bytes(3), stream=1), FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 5 bytes": Case(START + frame(WINDOW_UPDATE, bytes(5)), FRAME_SIZE_ERROR),
    "PRIORITY of 4 bytes": Case(START + frame(PRIORITY, bytes(4), stream=1), FRAME_SIZE_ERROR),
    "SETTINGS of 5 bytes": Case(START + frame(SETTINGS, bytes(5)), FRAME_SIZE_ERROR),
    "acknowledgement with settings": Case(START + frame(SETTINGS, bytes(6), flags=ACK), FRAME_SIZE_ERROR),
    "GOAWAY of 7 bytes": Case(START + frame(GOAWAY, bytes(7)), FRAME_SIZE_ERROR),
    "HEADERS with half a priority": Case(
        START + frame(HEADERS, bytes(4), stream=1, flags=WHOLE | WITH_PRIORITY), FRAME_SIZE_ERROR),
    "DATA without its padding length": Case(OPEN + frame(DATA, stream=1, flags=PADDED), FRAME_SIZE_ERROR),
    # Streams.
    "HEADERS on stream 0": Case(START + frame(HEADERS, head(), flags=WHOLE), PROTOCOL_ERROR),
    "DATA on stream 0": Case(START + frame(DATA, b"x"), PROTOCOL_ERROR),
    "RST_STREAM on stream 0": Case(START + reset(0), PROTOCOL_ERROR),
    "PRIORITY on stream 0": Case(START + frame(PRIORITY, bytes(5)), PROTOCOL_ERROR),
    "CONTINUATION on stream 0": Case(START + frame(CONTINUATION), PROTOCOL_ERROR),
    "PING on a stream": Case(START + frame(PING, bytes(8), stream=1), PROTOCOL_ERROR),
    "SETTINGS on a stream": Case(START + frame(SETTINGS, stream=1), PROTOCOL_ERROR),
    "GOAWAY on a stream": Case(START + frame(GOAWAY, bytes(8), stream=1), PROTOCOL_ERROR),
    "an even stream": Case(START + get(2), PROTOCOL_ERROR),
    "a stream below the last one": Case(START + get(5) + get(3), STREAM_CLOSED),
    "HEADERS again on a stream that has ended": Case(START + get(1, b"/hang") + get(1), None, {1: STREAM_CLOSED}),
    "DATA on an idle stream": Case(START + frame(DATA, b"x", stream=1), PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": Case(START + window_update(1, 1), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": Case(START + reset(1), PROTOCOL_ERROR),
    "RST_STREAM on a stream of ours that never was": Case(START + get(1) + reset(2), PROTOCOL_ERROR),
    "DATA after END_STREAM": Case(START + get(1, b"/hang") + frame(DATA, b"x", stream=1), None, {1: STREAM_CLOSED}),
    "DATA after the whole stream": Case(FIRST + frame(DATA, b"x", stream=1), None, {1: STREAM_CLOSED}),
    "a stream too many": Case(
        START + b"".join(get(each, b"/hang") for each in streams(1, 129)), None, {257: REFUSED_STREAM}),
    "naked CONTINUATION": Case(OPEN + frame(CONTINUATION, stream=1, flags=END_HEADERS), PROTOCOL_ERROR),
    "a PING within a header block": Case(START + frame(HEADERS, head(), stream=1) + ping(), PROTOCOL_ERROR),
    "another stream's CONTINUATION": Case(
        START + frame(HEADERS, head(), stream=1) + frame(CONTINUATION, stream=3, flags=END_HEADERS), PROTOCOL_ERROR),
    "push from the client": Case(
        OPEN + frame(PUSH_PROMISE, (2).to_bytes(4) + head(), stream=1, flags=END_HEADERS), PROTOCOL_ERROR),
    # Padding and priority.
    "DATA of more padding than frame": Case(
        OPEN + frame(DATA, b"\x09" + bytes(8), stream=1, flags=PADDED), PROTOCOL_ERROR),
    "HEADERS of more padding than frame": Case(
        START + frame(HEADERS, b"\xff" + head(), stream=1, flags=WHOLE | PADDED), PROTOCOL_ERROR),
    "a stream that depends on itself": Case(
        START + frame(PRIORITY, (3).to_bytes(4) + b"\0", stream=3), PROTOCOL_ERROR),
    "a request that depends on itself": Case(
        START + frame(HEADERS, (1).to_bytes(4) + b"\0" + head(), stream=1, flags=WHOLE | WITH_PRIORITY),
        PROTOCOL_ERROR),
    # The beginning.
    "no preface": Case(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n", PROTOCOL_ERROR),
    "a preface with a fault at its end": Case(PREFACE[:-1] + b"\r" + settings(), PROTOCOL_ERROR),
    "no SETTINGS behind the preface": Case(PREFACE + get(1), PROTOCOL_ERROR),
    "an acknowledgement behind the preface": Case(PREFACE + frame(SETTINGS, flags=ACK), PROTOCOL_ERROR),
}  # fmt: skip


async def upstream(connection: Connection) -> None:
    """Never answer `/hang`, answer `/large` with a megabyte, and everything else at once."""
    while True:
        request = await connection.read_head()
        if b"/hang" in request:
            await connection.read_to_end()
            return
        await connection.write(ok(bytes(2**20)) if b"/large" in request else ok())


@pytest.fixture(scope="module")
def edge(site_kind: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with Recorder(upstream) as recorder:
        settings_ = {"listeners": [{"kind": "https"}], "upstream": recorder.url}
        with running_edge(tmp_path_factory.mktemp("edge"), settings_, {"main": main_site()}) as running:
            yield running


class Worker:
    """The memory of the only worker, and a bystander's connection through it."""

    def __init__(self, edge: RunningEdge) -> None:
        self._edge = edge
        self._process = psutil.Process(edge.worker_pids()[0])
        self.bystander = RawHttp2(edge.port("https"))
        self._asked = -1

    @property
    def memory(self) -> int:
        return self._process.memory_info().rss

    async def serves(self) -> None:
        """Show that the bystander's connection and a new one get their answers."""
        self._asked += 2
        if self._asked == 1:
            await self.bystander.send(START)
        await self.bystander.send(get(self._asked))
        seen = await self.bystander.until_ended(self._asked)
        assert seen.status(self._asked) == 200
        async with RawHttp2(self._edge.port("https")) as fresh:
            await fresh.send(FIRST)
            assert (await fresh.until_ended(1)).status(1) == 200
        assert self._edge.worker_pids() == [self._process.pid]


@pytest.mark.parametrize("name", CASES)
@in_loop
async def test_hostile_frames_end_as_in_the_table_and_harm_nobody(name: str, edge: RunningEdge) -> None:
    case = CASES[name]
    worker = Worker(edge)
    async with worker.bystander:
        await worker.serves()
        before = worker.memory
        async with RawHttp2(edge.port("https")) as client:
            await client.send(case.sent)
            seen = await client.until_answered()
            if case.goaway is not None:
                await client.until_closed()
            elif not case.resets:
                await client.until_ended(1)
        await worker.serves()

        assert seen.goaway == case.goaway
        if case.goaway is None:
            assert {**seen.resets, **case.resets} == seen.resets
            assert case.resets or seen.status(1) == 200
        assert worker.memory - before < MARGIN


@in_loop
async def test_four_rounds_of_the_whole_table_leave_no_memory_behind(edge: RunningEdge) -> None:
    """The first round warms up. Each case has a thousand times as many frames as an honest client sends."""
    worker = Worker(edge)
    async with worker.bystander:
        sizes = []
        for _ in range(4):
            for case in CASES.values():
                async with RawHttp2(edge.port("https")) as client:
                    await client.send(case.sent)
                    await client.until_answered()
            await worker.serves()
            sizes.append(worker.memory)

    assert sizes[-1] - sizes[0] < MARGIN, sizes


@in_loop
async def test_many_streams_with_closed_windows_take_little_memory(edge: RunningEdge) -> None:
    """Of 100 responses of a megabyte each, only one connection's share waits for a client that takes a byte of each."""
    worker = Worker(edge)
    async with worker.bystander:
        await worker.serves()
        before = worker.memory
        async with RawHttp2(edge.port("https")) as client:
            await client.send(PREFACE + settings((4, 1)))
            await client.send(b"".join(get(each, b"/large") for each in streams(1, 100)))
            await wait_for_in_loop(lambda: len(client.seen.heads) >= 2, "the first answers")
            await stands_still(lambda: worker.memory)
            await worker.serves()

            assert all(len(body) == 1 for body in client.seen.bodies.values())
            assert worker.memory - before < 40 * 2**20


@in_loop
async def test_a_full_connection_window_frees_everything_at_the_end(edge: RunningEdge) -> None:
    worker = Worker(edge)
    async with worker.bystander:
        sizes = []
        for _ in range(6):
            async with RawHttp2(edge.port("https")) as client:
                await client.send(PREFACE + settings((4, 2**31 - 1)))  # the connection's stays at 65,535
                await client.send(b"".join(get(each, b"/large") for each in streams(1, 60)))
                bodies = client.seen.bodies
                await wait_for_in_loop(lambda: sum(map(len, bodies.values())) == 65535, "a full window")  # noqa: B023
                await worker.serves()
            sizes.append(worker.memory)

        assert sizes[-1] - sizes[1] < MARGIN, sizes


@in_loop
async def test_a_client_that_pings_and_never_reads_is_not_read_from(edge: RunningEdge) -> None:
    """The answers fill the socket, then the edge stops reading from it; or the client's budget is used up."""
    worker = Worker(edge)
    async with worker.bystander:
        await worker.serves()
        before = worker.memory
        async with RawHttp2(edge.port("https"), reads=False) as client:
            client.reader._limit = 1  # type: ignore[attr-defined]  # the stream stops its transport at twice that
            await client.send(START + window_update(2**30) + b"".join(get(each, b"/large") for each in streams(1, 60)))
            try:
                async with asyncio.timeout(3):
                    await client.send(many(ping(b"flooding"), times=400_000))
            except TimeoutError:
                pass
            await worker.serves()

            assert worker.memory - before < 40 * 2**20


@in_loop
async def test_requests_before_the_clients_goaway_are_answered(edge: RunningEdge) -> None:
    async with RawHttp2(edge.port("https")) as client:
        await client.send(START + window_update(2**24) + settings((4, 2**24)))
        await client.send(get(1, b"/large") + frame(GOAWAY, bytes(8)))
        seen = await client.until_closed()

    assert (seen.status(1), len(seen.bodies[1]), seen.ended) == (200, 2**20, {1})
    assert seen.goaway == NO_ERROR


SLOW = {"head_seconds": 1}


@pytest.fixture(scope="module")
def impatient_edge(site_kind: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with Recorder(upstream) as recorder:
        settings_ = {"listeners": [{"kind": "https"}], "upstream": recorder.url, "limits": SLOW}
        with running_edge(tmp_path_factory.mktemp("impatient"), settings_, {"main": main_site()}) as running:
            yield running


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE, START, START + frame(HEADERS, head(), stream=1)[:12]])
@in_loop
async def test_a_client_that_makes_no_progress_is_dropped_in_time(sent: bytes, impatient_edge: RunningEdge) -> None:
    async with RawHttp2(impatient_edge.port("https")) as client:
        await client.send(sent)
        assert (await client.until_closed()).goaway == NO_ERROR


@in_loop
async def test_a_preface_that_trickles_in_gains_no_time(impatient_edge: RunningEdge) -> None:
    async with RawHttp2(impatient_edge.port("https")) as client:
        for position in range(len(PREFACE)):
            await client.send(PREFACE[position : position + 1])
            due = time.monotonic() + 0.2
            await wait_for_in_loop(lambda: client.seen.is_closed or time.monotonic() > due, "a pause")  # noqa: B023
        assert (await client.until_closed()).goaway == NO_ERROR


@pytest.mark.parametrize("first", [b"", get(1), get(1, b"/hang")], ids=["at once", "after a request", "beside one"])
@in_loop
async def test_an_unfinished_header_block_has_a_deadline(first: bytes, impatient_edge: RunningEdge) -> None:
    async with RawHttp2(impatient_edge.port("https")) as client:
        await client.send(START + first + frame(HEADERS, head(), stream=3))
        assert (await client.until_closed()).goaway == ENHANCE_YOUR_CALM
