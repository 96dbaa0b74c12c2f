"""No parser works longer than in proportion to the bytes that a stranger sends, however few come at a time."""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_addon.relay.http1 import Http1Session
from tests.edge_addon.readers import READERS, Reader
from tests.edge_addon.relay.edge import relay_edge
from tests.edge_addon.relay.http2.test_framer import MemoryChannel
from tests.loops import in_loop
from tests.peers.recorder import Recorder, silent

KB = 1024
SMALL, LARGE = 8 * KB, 64 * KB
MOST_RATIO = 12
"""Eight times the bytes may cost at most so many times the CPU time."""
WHOLE_SECONDS, DRIP_SECONDS = 0.0005, 0.003
"""For each KB in one piece, and byte by byte: what costs less is not compared, as it is noise."""
LINE_SECONDS = 0.01
"""For each KB of long lines, whose length is bounded."""
LINE_BYTES = 8000
IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
"""Try all pairs of the bytes that mean something, and drip each of them."""


def loops(reader: Reader, *, is_drip: bool) -> list[bytes]:
    words = [bytes((each,)) for each in dict.fromkeys(reader.words + b"x")]
    singles = words if is_drip else [bytes((each,)) for each in range(256)]
    pairs = [first + second for first, second in itertools.permutations(words, 2)]
    if IS_DEEP:
        return [*singles, *pairs]
    return [*singles[:4], *pairs[:4]] if is_drip else [*singles, *pairs[:10]]


def cost(reader: Reader, pieces: Iterable[bytes]) -> float:
    """The CPU time of this thread for the pieces, up to where the parser gives up."""
    feed = reader.make()
    if reader.before:
        feed(reader.before)
    begun = time.thread_time()
    for piece in pieces:
        if not feed(piece):
            break
    return time.thread_time() - begun


def is_linear(reader: Reader, loop: bytes, *, is_drip: bool) -> bool:
    def split(size: int) -> list[bytes]:
        data = (loop * size)[:size]
        return [data[at : at + 1] for at in range(size)] if is_drip else [data]

    large = cost(reader, split(LARGE))
    limit = (DRIP_SECONDS if is_drip else WHOLE_SECONDS) * LARGE / KB
    if large < limit:
        return True
    small = min(cost(reader, split(SMALL)) for _ in range(3))
    large = min(large, cost(reader, split(LARGE)))
    return large < max(limit, MOST_RATIO * small)


def is_cheap_in_lines(reader: Reader, loop: bytes) -> bool:
    """Lines as long as they may be before a login, that end as no command does."""
    line = (loop * LINE_BYTES)[:LINE_BYTES] + b"x\r\n"
    lines = [line, *[reader.before + line] * 3, *[reader.before + b"x" + line] * 4]
    limit = LINE_SECONDS * LARGE / KB
    return min(cost(reader, lines) for _ in range(2)) < limit


@pytest.mark.parametrize("is_drip", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", READERS)
def test_64_kb_of_any_loop_cost_no_more_than_eight_times_8_kb(name: str, *, is_drip: bool) -> None:
    reader = READERS[name]
    gc.disable()  # its runs would be counted for whichever parser is at work
    try:
        quadratic = [loop for loop in loops(reader, is_drip=is_drip) if not is_linear(reader, loop, is_drip=is_drip)]
        if not is_drip:
            quadratic += [loop for loop in loops(reader, is_drip=True) if not is_cheap_in_lines(reader, loop)]
    finally:
        gc.enable()
    assert not quadratic


@pytest.mark.parametrize(
    "before",
    [b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"],
    ids=["a head", "what waits behind a request"],
)
@in_loop
async def test_a_session_copies_nothing_again_for_each_byte(before: bytes, tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:

            def drip(size: int) -> float:
                session = Http1Session(MemoryChannel(), edge.plane)
                session.data_received(before)
                begun = time.thread_time()
                for _ in range(size):
                    session.data_received(b"x")
                spent = time.thread_time() - begun
                session.connection_lost(None)
                return spent

            small, large = min(drip(7 * KB) for _ in range(3)), min(drip(56 * KB) for _ in range(3))

    assert large < MOST_RATIO * small
