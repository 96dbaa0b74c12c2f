"""HTTP/2 clients that stop in the middle: what waits for them is bounded in bytes and time."""

import asyncio
import time
from pathlib import Path

import pytest

from edge_addon.http import body_rate
from edge_addon.http.limits import EARLY_BYTES
from edge_addon.relay.http2 import session as http2_session
from edge_addon.relay.http2 import stream
from edge_addon.relay.http2.send_queue import MAX_QUEUED
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.planes import connections_of
from tests.edge_addon.relay.edge import Edge, relay_edge, stands_still
from tests.edge_addon.relay.http2.raw import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    NO_ERROR,
    PREFACE,
    START,
    RawHttp2,
    frame,
    get,
    head,
    post,
    settings,
    window_update,
)  # fmt: skip
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, ok, silent

MEGABYTE = 2**20


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limit of a stall to a second."""
    monkeypatch.setattr(http2_session, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(stream, "STALL_SECONDS", 1.0)


async def large(connection: Connection) -> None:
    while True:
        path = (await connection.read_head()).split()[1]
        await connection.write(ok(bytes(MEGABYTE) if path == b"/large" else b"ok"))


def edge_for(recorder: Recorder, folder: Path):  # type: ignore[no-untyped-def]
    return relay_edge(folder, recorder.url, kind="https")


def session_of(edge: Edge) -> http2_session.Http2Session:
    (connection,) = connections_of(edge.plane)
    found = connection._session
    assert isinstance(found, http2_session.Http2Session)
    return found


@in_loop
async def test_a_response_that_nobody_reads_is_given_up(tmp_path: Path) -> None:
    """Window updates that do not help gain no time; the connection goes on."""
    with Recorder(large) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + get(1, b"/large"))
            await wait_for_in_loop(lambda: len(client.seen.bodies.get(1, b"")) == 65535, "a full window")
            for _ in range(30):
                await client.send(window_update(100))  # of the connection; the stream's stays closed
                if client.seen.resets:
                    break
                await stands_still(lambda: len(client.seen.bodies[1]), 0.1)
            await client.send(get(3))
            seen = await client.until_ended(3)
            await edge.counted("client_stalled")

    assert (seen.resets, seen.status(3), seen.goaway) == ({1: CANCEL}, 200, None)


@in_loop
async def test_a_response_that_is_read_slowly_is_not_given_up(tmp_path: Path) -> None:
    """Negative control: a byte now and then is progress."""
    with Recorder(large) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + get(1, b"/large"))
            await wait_for_in_loop(lambda: len(client.seen.bodies.get(1, b"")) == 65535, "a full window")
            for _ in range(8):
                before = len(client.seen.bodies[1])
                await client.send(window_update(1) + window_update(1, 1))
                await wait_for_in_loop(lambda: len(client.seen.bodies[1]) == before + 1, "a byte")  # noqa: B023
                await stands_still(lambda: len(client.seen.bodies[1]), 0.4)

    assert not client.seen.resets


@in_loop
async def test_a_body_that_does_not_come_has_a_deadline(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + post(1, b"/", (b"content-length", b"10")) + frame(DATA, b"12345", stream=1))
            seen = await client.until_ended(1)
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end at the upstream")

    assert (seen.resets, seen.goaway) == ({1: CANCEL}, None)


@in_loop
async def test_a_body_that_trickles_in_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then would keep the stream open without end."""
    monkeypatch.setattr(body_rate, "BODY_STEP", 50)
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + post(1, b"/"))
            ended = asyncio.ensure_future(client.until_ended(1))
            while not (await asyncio.wait({ended}, timeout=0.1))[0]:
                await client.send(frame(DATA, b"x", stream=1))
    assert (await ended).resets == {1: CANCEL}


@in_loop
async def test_a_slow_upstream_may_take_longer(tmp_path: Path) -> None:
    """Negative control: only the client's stalls count."""

    async def slow(connection: Connection) -> None:
        await connection.read_head()
        due = time.monotonic() + 3
        await wait_for_in_loop(lambda: time.monotonic() > due, "three seconds")
        await connection.write(ok())

    with Recorder(slow) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + get(1))
            assert (await client.until_ended(1)).status(1) == 200


@in_loop
async def test_bytes_that_wait_for_one_client_are_bounded_over_all_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STALL_SECONDS", 300.0)  # a busy machine takes a while to fill 100 streams
    with Recorder(large) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + b"".join(get(each) for each in range(1, 201, 2)))  # as many connections are open
            await wait_for_in_loop(lambda: len(client.seen.ended) == 100, "100 answers")
            await client.send(settings((4, 0)) + b"".join(get(each, b"/large") for each in range(201, 401, 2)))
            session = session_of(edge)
            await wait_for_in_loop(lambda: session.is_full, "a full connection")
            await stands_still(lambda: session._queued)

            assert session._queued == sum(len(each._queue.data) for each in session._streams.values())
            # The bytes read in the turn of the loop that exceeded the bound come on top.
            assert session._queued < MAX_QUEUED + 40 * 65536
            monkeypatch.setattr(stream, "STALL_SECONDS", 1.0)
            await client.send(settings((4, 1)))  # each stream sends a byte, and waits anew
            await wait_for_in_loop(lambda: session._queued == 0, "all of it given up", seconds=60)
            assert not session.is_full


@in_loop
async def test_full_streams_go_on_when_the_client_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALL_SECONDS", 300.0)  # a busy machine takes a while to fill 50 streams
    with Recorder(large) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(PREFACE + settings((4, 0)) + b"".join(get(each, b"/large") for each in range(1, 101, 2)))
            await wait_for_in_loop(lambda: client.seen.heads, "the first answers")
            session = session_of(edge)
            await wait_for_in_loop(lambda: session.is_full, "a full connection")
            await client.send(settings((4, 2**20)) + window_update(2**30))
            await wait_for_in_loop(lambda: len(client.seen.ended) == 50, "every answer", seconds=60)

    assert {len(body) for body in client.seen.bodies.values()} == {MEGABYTE}
    assert (client.seen.resets, client.seen.goaway) == ({}, None)


@in_loop
async def test_data_before_an_agreed_upgrade_waits_within_its_bound(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            opening = head(b"/ws", method=b"CONNECT", protocol=b"websocket")
            await client.send(START + frame(HEADERS, opening, stream=1, flags=END_HEADERS))
            await client.send(frame(DATA, bytes(16384), stream=1) * 4)
            seen = await client.until_answered()
            assert len(session_of(edge)._streams) == 1
            assert session_of(edge)._early == EARLY_BYTES
            assert seen.goaway is None


@in_loop
async def test_an_idle_websocket_is_not_a_stall(tmp_path: Path) -> None:
    """ActiveSync and notifications are silent for long."""
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            opening = head(b"/ws", method=b"CONNECT", protocol=b"websocket")
            await client.send(START + frame(HEADERS, opening, stream=1, flags=END_HEADERS) + get(3, b"/ping"))
            await stands_still(lambda: len(edge.plane.counters), 3)
            assert not client.seen.is_closed
            assert not client.seen.resets


@in_loop
async def test_a_client_that_ends_its_side_is_dropped(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + get(1) + frame(HEADERS, head(), stream=3, flags=END_HEADERS | END_STREAM))
            await wait_for_in_loop(lambda: len(recorder.connections) == 2, "both requests")
            client.writer.transport.close()
            await wait_for_in_loop(lambda: all(each.is_over for each in recorder.connections), "the end upstream")
            await wait_for_in_loop(lambda: not edge.plane.connections, "the end of the connection")
    assert client.seen.goaway in (None, NO_ERROR)


@in_loop
async def test_a_window_that_opens_byte_by_byte_renews_no_allowance(tmp_path: Path) -> None:
    """Each byte would cost a frame of ours and a look at every stream that waits."""
    with Recorder(large) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            requests = b"".join(get(each, b"/large") for each in range(1, 200, 2))
            await client.send(START + settings((4, 2**24)) + requests)
            await wait_for_in_loop(
                lambda: sum(map(len, client.seen.bodies.values())) == 65535, "a full window of the connection"
            )
            await client.send(window_update(1) * 5000)
            seen = await client.until_closed()

            assert seen.goaway == ENHANCE_YOUR_CALM
            assert edge.plane.counters["http2_flood_window_updates"] == 1
