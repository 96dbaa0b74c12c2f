"""Junk is refused before a head is complete, and the beginning of a good head is not."""

import pytest

from edge_addon.http.partial_head import PartialHead, PartialResponse, skip_empty_lines
from edge_addon.http.refusal import BadMessage, Cause

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"
LIMIT = 100


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cause_of(partial: PartialHead, *data: bytes) -> Cause:
    *accepted, last = data
    for piece in accepted:
        assert partial.feed(piece) is None
    with pytest.raises(BadMessage) as refused:
        partial.feed(last)
    return refused.value.cause


def test_each_beginning_of_a_good_head_is_waited_for() -> None:
    for end in range(1, len(REQUEST)):
        assert PartialHead(LIMIT).feed(REQUEST[:end]) is None
    for end in range(1, len(RESPONSE)):
        assert PartialResponse(LIMIT).feed(RESPONSE[:end]) is None


@pytest.mark.parametrize(("kind", "whole"), [(PartialHead, REQUEST), (PartialResponse, RESPONSE)])
def test_a_head_is_complete_wherever_it_is_cut_and_keeps_what_follows(kind: type[PartialHead], whole: bytes) -> None:
    for cut in range(1, len(whole)):
        partial = kind(LIMIT)
        assert partial.feed(whole[:cut]) is None
        assert partial.feed(whole[cut:] + b"more") == whole + b"more"
    byte_by_byte = kind(LIMIT)
    answers = [byte_by_byte.feed(whole[at : at + 1]) for at in range(len(whole))]
    assert answers == [None] * (len(whole) - 1) + [whole]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x16", Cause.TLS_IN_CLEAR),
        (b"\n", Cause.BARE_LF),
        (b" ", Cause.LEADING_JUNK),
        (b"GET / HTTP/1.1\n", Cause.BARE_LF),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", Cause.BARE_LF),
        (b"GET / HTTP/9\r\n", Cause.BAD_VERSION),
        (b"x" * (LIMIT + 1), Cause.HEAD_TOO_LARGE),
    ],
)
def test_junk_is_refused_at_once(data: bytes, cause: Cause) -> None:
    assert cause_of(PartialHead(LIMIT), data) is cause
    assert cause_of(PartialHead(LIMIT), *pieces(data)) is cause


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/2", Cause.BAD_STATUS_LINE),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n\n", Cause.BARE_LF),
        (b"<", Cause.BAD_STATUS_LINE),
        (b"HTTP/1.1 200 OK\n", Cause.BARE_LF),
        (b"HTTP/1.1 " + b"x" * (LIMIT - 8), Cause.HEAD_TOO_LARGE),
    ],
)
def test_junk_from_an_upstream_is_refused_at_once(data: bytes, cause: Cause) -> None:
    assert cause_of(PartialResponse(LIMIT), data) is cause
    assert cause_of(PartialResponse(LIMIT), *pieces(data)) is cause


def test_two_empty_lines_are_skipped_and_a_third_is_junk() -> None:
    assert skip_empty_lines(b"\r\n\r\nGET", 0) == (b"GET", 2)
    assert skip_empty_lines(b"GET", 2) == (b"GET", 2)
    with pytest.raises(BadMessage) as refused:
        skip_empty_lines(b"\r\n", 2)
    assert refused.value.cause is Cause.LEADING_JUNK
