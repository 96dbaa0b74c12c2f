"""Heads are found wherever the pieces are cut, and what follows them stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.http.head_reader import HeadReader
from edge_addon.http.refusal import BadMessage, Cause

ONE = b"GET /one HTTP/1.1\r\nHost: a.test\r\n\r\n"
TWO = b"GET /two HTTP/1.1\r\nHost: a.test\r\n\r\n"
LIMIT = 100


def targets(pieces: list[bytes]) -> list[bytes]:
    """Read pieces as a session does: with what was left of those before."""
    reader, waiting, found = HeadReader(LIMIT), b"", []
    for piece in pieces:
        waiting += piece
        while waiting:
            head, waiting = reader.read(waiting)
            if head is None:
                break
            found.append(head.target)
    return found


@given(st.lists(st.integers(0, len(b"\r\n" + ONE + b"\r\n\r\n" + TWO)), max_size=6).map(sorted))
def test_heads_are_the_same_wherever_they_are_cut(cuts: list[int]) -> None:
    data = b"\r\n" + ONE + b"\r\n\r\n" + TWO
    assert targets([data[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]) == [b"/one", b"/two"]


def test_what_follows_a_head_is_handed_back() -> None:
    reader = HeadReader(LIMIT)
    head, rest = reader.read(ONE + b"body")
    assert head is not None
    assert (rest, reader.is_partial) == (b"body", False)


def test_a_head_in_part_stays_in_the_reader_until_it_is_dropped() -> None:
    reader = HeadReader(LIMIT)
    assert reader.read(ONE[:9]) == (None, b"")
    assert reader.is_partial
    reader.drop()
    assert not reader.is_partial


def test_half_of_an_empty_line_is_handed_back() -> None:
    reader = HeadReader(LIMIT)
    assert reader.read(b"\r") == (None, b"\r")
    assert not reader.is_partial


@pytest.mark.parametrize("pieces", [[b"\r\n\r\n\r\n"], [b"\r\n", b"\r\n", b"\r\n"], [b"\r\n\r", b"\n\r\n"]])
def test_empty_lines_are_counted_across_pieces(pieces: list[bytes]) -> None:
    with pytest.raises(BadMessage) as refused:
        targets(pieces)
    assert refused.value.cause is Cause.LEADING_JUNK


def test_empty_lines_are_counted_anew_behind_each_head() -> None:
    assert targets([b"\r\n\r\n" + ONE, b"\r\n\r\n" + TWO]) == [b"/one", b"/two"]


@pytest.mark.parametrize("length", [LIMIT, 2 * LIMIT])
def test_a_head_above_the_limit_is_refused_whether_it_is_complete_or_not(length: int) -> None:
    large = b"GET / HTTP/1.1\r\nX: " + b"x" * length
    for data in (large, large + b"\r\n\r\n"):
        with pytest.raises(BadMessage) as refused:
            HeadReader(LIMIT).read(data)
        assert refused.value.cause is Cause.HEAD_TOO_LARGE
