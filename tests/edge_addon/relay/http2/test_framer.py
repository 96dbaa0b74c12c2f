"""Any frames in any order, and any bytes: the connection goes on or ends properly."""

import asyncio
import contextlib
from collections.abc import Iterator

import hpack
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerSettings
from edge_addon.plane.data_plane import DataPlane
from edge_addon.relay.http2.budget import Costly
from edge_addon.relay.http2.framer import Framer
from edge_addon.relay.http2.frames import FRAME_SIZE
from edge_addon.relay.http2.hpack import Fields
from edge_addon.relay.http2.session import Http2Session
from edge_addon.transport.channel import Address
from tests.edge_addon.planes import inspector_of
from tests.edge_addon.relay.edge import MAIN_HOST, make_known, relay_edge
from tests.edge_addon.relay.http2 import raw

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1, 2**31 + 1])
BLOCKS = st.one_of(
    st.sampled_from(
        [
            raw.head(),
            raw.head(b"/.well-known/acme-challenge/aaaaaaaaaaaaaaaaaaaaaaaa"),
            raw.head(b"/", (b"content-length", b"3"), method=b"POST"),
            raw.head(b"/chat", method=b"CONNECT", protocol=b"websocket"),
            raw.block((b"x-trailer", b"1")),
            raw.block((b":status", b"200")),
            raw.block((b"x", b"a\r\nb")),
            b"\x20" + raw.head(),
        ]
    ),
    st.binary(max_size=40),
)
PAYLOADS = st.one_of(
    BLOCKS, st.sampled_from([b"", bytes(4), bytes(8), b"\0\0\0\1", b"\x7f\xff\xff\xff", b"abc"]), st.binary(max_size=20)
)
SETTINGS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 2, 16384, 65535, 2**31 - 1, 2**31, 2**32 - 1])), max_size=3
).map(lambda pairs: raw.settings(*pairs))
FRAMES = st.one_of(
    SETTINGS,
    st.builds(
        lambda payload, stream, flags: raw.frame(raw.HEADERS, payload, stream=stream, flags=flags),
        BLOCKS,
        STREAMS,
        st.sampled_from([4, 5, 5, 0, 1, 0x0C, 0x25, 0x2D]),
    ),
    st.builds(
        lambda kind, payload, stream, flags: raw.frame(kind, payload, stream=stream, flags=flags),
        st.integers(0, 12),
        PAYLOADS,
        STREAMS,
        st.one_of(st.sampled_from([0, 1, 4, 5, 8, 9]), st.integers(0, 255)),
    ),
    st.builds(lambda kind, length: raw.frame(kind, length=length), st.integers(0, 12), st.integers(0, 2**24 - 1)),
)


class MemoryChannel:
    """A client connection without a socket; gathers what is written."""

    def __init__(self) -> None:
        self.secure = True
        self.server_name: str | None = MAIN_HOST
        self.selection: Selection | None = None
        self.tls_version: str | None = "TLSv1.3"
        self.alpn: str | None = "h2"
        self.opened = 0.0
        self.listener = ListenerSettings.model_validate({"kind": "https", "listen": "127.0.0.1:443"})
        self.client, self.local = Address("127.0.0.1", 50_000), Address("127.0.0.1", 443)
        self.written = b""
        self.is_closed = self.is_paused = False

    def write(self, data: bytes, *, more: bool = False) -> None:
        assert not self.is_closed, "nothing is written behind the end"
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def start_tls(self) -> None:
        raise AssertionError("HTTP has no STARTTLS")


class Bench:
    """A loop with a plane; its upstream is a port that refuses every connection."""

    def __init__(self, runner: asyncio.Runner, plane: DataPlane) -> None:
        self._runner = runner
        self._plane = plane

    def take(self, *pieces: bytes, pauses: bool = False) -> MemoryChannel:
        """Feed a session with the pieces, let it come to rest and end it."""
        return self._runner.run(self._take(pieces, pauses=pauses))

    async def _take(self, pieces: tuple[bytes, ...], *, pauses: bool) -> MemoryChannel:
        channel = MemoryChannel()
        if self._plane.inspector is not None:
            make_known(inspector_of(self._plane), channel.listener)
        session = Http2Session(channel, self._plane)
        for number, piece in enumerate(pieces):
            if not channel.is_closed:
                if pauses and number % 2:
                    session.pause_writing()
                session.data_received(piece)
                assert len(session._streams) <= 100
                if pauses and number % 2:
                    session.resume_writing()
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        session.eof_received()
        session.connection_lost(None)
        assert session.is_idle
        assert not session._framer.streams or channel.is_closed
        return channel


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    faults: list[object] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.ExitStack() as stack:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        edge = relay_edge(tmp_path_factory.mktemp("plane"), "http://127.0.0.1:1")
        plane = runner.run(edge.__aenter__()).plane
        stack.callback(lambda: runner.run(edge.__aexit__(None, None, None)))
        yield Bench(runner, plane)
    assert not faults


def read_frames(written: bytes) -> list[tuple[int, int, bytes]]:
    """Return kind, stream and payload of each frame; all are whole, header blocks are readable, GOAWAY is last."""
    frames = []
    decoder = hpack.Decoder()
    while written:
        length, kind, flags = int.from_bytes(written[:3]), written[3], written[4]
        payload = written[9 : 9 + length]
        assert len(payload) == length <= FRAME_SIZE
        if kind == raw.HEADERS:
            assert flags & raw.END_HEADERS
            decoder.decode(payload)
        frames.append((kind, int.from_bytes(written[5:9]), payload))
        written = written[9 + length :]
    assert all(kind != raw.GOAWAY for kind, _, _ in frames[:-1])
    return frames


@ANY
@given(st.lists(FRAMES, max_size=25), st.booleans(), st.booleans())
def test_frames_of_every_kind_in_any_order(bench: Bench, frames: list[bytes], joined: bool, pauses: bool) -> None:
    sent = [raw.START, *frames]
    channel = bench.take(*([b"".join(sent)] if joined else sent), pauses=pauses)
    written = read_frames(channel.written)
    assert channel.is_closed
    assert written[0][0] == raw.SETTINGS


@ANY
@given(st.binary(max_size=300))
def test_any_bytes_behind_the_preface(bench: Bench, junk: bytes) -> None:
    read_frames(bench.take(raw.START + junk).written)


@ANY
@given(st.binary(max_size=100))
def test_any_bytes_at_all(bench: Bench, junk: bytes) -> None:
    read_frames(bench.take(junk).written)


@ANY
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_any_cut_of_the_bytes_gives_the_same_result(bench: Bench, frames: list[bytes], cuts: list[int]) -> None:
    whole = raw.START + b"".join(frames)
    pieces, rest = [], whole
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    ends = [each for each in read_frames(bench.take(whole).written) if each[0] in (raw.GOAWAY, raw.RST_STREAM)]
    in_pieces = read_frames(bench.take(*(each for each in (*pieces, rest) if each)).written)
    assert [each for each in ends if each[0] == raw.GOAWAY] == [each for each in in_pieces if each[0] == raw.GOAWAY]


def test_a_request_for_an_unreachable_upstream_is_answered(bench: Bench) -> None:
    """Negative control: the bench does serve requests."""
    channel = bench.take(raw.START + raw.get(1, b"/.well-known/acme-challenge/aaaaaaaaaaaaaaaaaaaaaaaa"))
    assert [kind for kind, _, _ in read_frames(channel.written)].count(raw.HEADERS) == 1


class Told:
    """A `Receiver` that records its calls and affords everything."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.windows: list[int] = []

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        self.told.append(("request", stream_id, is_end))

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        self.told.append(("trailers", stream_id, is_end))

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None:
        self.told.append(("body", stream_id, data, flow_size, is_end))

    def stream_over(self, stream_id: int, cause: str | None = None) -> None:
        self.told.append(("over", stream_id))

    def window_opened(self, stream_id: int) -> None:
        self.windows.append(stream_id)

    def client_leaves(self) -> None: ...

    def affords(self, kind: Costly) -> bool:
        return True


def told(*frames: bytes) -> list[tuple[object, ...]]:
    receiver = Told()
    assert Framer(receiver, 65536, 100).receive(raw.START + b"".join(frames)) is None
    return receiver.told


def data(payload: bytes, stream: int = 1, flags: int = 0) -> bytes:
    return raw.frame(raw.DATA, payload, stream=stream, flags=flags)


def test_data_that_came_together_is_passed_on_together() -> None:
    """Otherwise a client that sends one byte in each frame would cost the upstream a write for each byte."""
    assert told(raw.post(1), data(b"a") * 500) == [("request", 1, False), ("body", 1, b"a" * 500, 500, False)]


def test_only_a_window_that_was_closed_makes_every_stream_look_for_it() -> None:
    """An update costs the client 13 bytes, and each look asks all streams of the connection."""
    receiver = Told()
    framer = Framer(receiver, 65536, 100)
    framer.receive(raw.START + raw.get(1))
    receiver.windows.clear()
    framer.receive(raw.window_update(1) * 500 + raw.window_update(1, 1))
    assert receiver.windows == [1]
    framer.outbound_flow_control_window = 0
    framer.receive(raw.window_update(1) * 500)
    assert receiver.windows == [1, 0]


def test_padding_counts_for_the_window_but_not_for_the_body() -> None:
    padded = data(b"\x03abc" + bytes(3), flags=raw.PADDED)
    assert told(raw.post(1), padded, padded)[1:] == [("body", 1, b"abcabc", 14, False)]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (data(b"b", 3), [("body", 3, b"b", 1, False)]),
        (raw.frame(raw.HEADERS, raw.block((b"x", b"y")), stream=1, flags=5), [("trailers", 1, True)]),
        (raw.reset(1), [("over", 1)]),
        (raw.get(5), [("request", 5, True)]),
        (data(b"", 1, raw.END_STREAM), []),
    ],
    ids=["another stream's data", "trailers", "a reset", "a request", "the end"],
)
def test_frames_after_data_are_reported_after_it(behind: bytes, expected: list[tuple[object, ...]]) -> None:
    is_end = not expected
    assert told(raw.post(1), raw.post(3), data(b"a"), data(b"a"), behind)[2:] == [
        ("body", 1, b"aa", 2, is_end),
        *expected,
    ]
