"""A body that waits for a hook."""

import asyncio

import pytest

from edge_addon.inspection.pieces import HELD_BYTES, BrokenOff, Pieces
from tests.loops import in_loop


class Source:
    """Remembers whether it may send."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.pieces = Pieces(lambda: self.said.append("pause"), lambda: self.said.append("resume"))


@in_loop
async def test_what_came_is_given_in_one_piece_and_then_the_end() -> None:
    pieces = Source().pieces
    pieces.put(b"a")
    pieces.put(b"")
    pieces.put(b"b")
    pieces.end([b"X-Sum: 1"])
    assert await pieces.next() == b"ab"
    assert await pieces.next() == b""
    assert pieces.trailers == [b"X-Sum: 1"]


@in_loop
async def test_a_reader_waits_for_what_comes() -> None:
    pieces = Source().pieces
    reading = asyncio.ensure_future(pieces.next())
    await asyncio.sleep(0)
    assert not reading.done()
    pieces.put(b"a")
    assert await reading == b"a"


@in_loop
async def test_the_source_is_stopped_once_while_much_waits() -> None:
    source = Source()
    source.pieces.put(b"x" * HELD_BYTES)
    assert source.said == []
    source.pieces.put(b"x")
    source.pieces.put(b"x")
    assert (source.said, source.pieces.is_paused) == (["pause"], True)
    assert len(source.pieces.take()) == HELD_BYTES + 2
    assert (source.said, source.pieces.is_paused) == (["pause", "resume"], False)


@in_loop
async def test_a_body_that_breaks_off_keeps_nothing_and_calls_nobody() -> None:
    source = Source()
    reading = asyncio.ensure_future(source.pieces.next())
    await asyncio.sleep(0)
    source.pieces.put(b"x" * 2 * HELD_BYTES)
    source.pieces.break_off()
    source.pieces.put(b"x" * 2 * HELD_BYTES)
    with pytest.raises(BrokenOff):
        await reading
    assert source.pieces.take() == b""
    assert source.said == ["pause"]
