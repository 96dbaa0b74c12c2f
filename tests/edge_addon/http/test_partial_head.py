"""Junk is refused before a head is complete, and the beginning of a good head is not."""

import pytest

from edge_addon.http.partial_head import check_partial_head, check_partial_response, skip_empty_lines
from edge_addon.http.refusal import BadMessage, Cause

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"
LIMIT = 100


def test_each_beginning_of_a_good_head_is_waited_for() -> None:
    for end in range(1, len(REQUEST) - 1):
        check_partial_head(REQUEST[:end], LIMIT)
    for end in range(len(RESPONSE)):
        check_partial_response(RESPONSE[:end], LIMIT)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x16\x03\x01", Cause.TLS_IN_CLEAR),
        (b"\n", Cause.BARE_LF),
        (b" GET", Cause.LEADING_JUNK),
        (b"GET / HTTP/1.1\nHost", Cause.BARE_LF),
        (b"GET / HTTP/9\r\n", Cause.BAD_VERSION),
        (b"x" * (LIMIT + 1), Cause.HEAD_TOO_LARGE),
    ],
)
def test_junk_is_refused_at_once(data: bytes, cause: Cause) -> None:
    with pytest.raises(BadMessage) as refused:
        check_partial_head(data, LIMIT)
    assert refused.value.cause is cause


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/2", Cause.BAD_STATUS_LINE),
        (b"<html>", Cause.BAD_STATUS_LINE),
        (b"HTTP/1.1 200 OK\nX", Cause.BARE_LF),
        (b"HTTP/1.1 " + b"x" * LIMIT, Cause.HEAD_TOO_LARGE),
    ],
)
def test_junk_from_an_upstream_is_refused_at_once(data: bytes, cause: Cause) -> None:
    with pytest.raises(BadMessage) as refused:
        check_partial_response(data, LIMIT)
    assert refused.value.cause is cause


def test_two_empty_lines_are_skipped_and_a_third_is_junk() -> None:
    assert skip_empty_lines(b"\r\n\r\nGET", 0) == (b"GET", 2)
    assert skip_empty_lines(b"GET", 2) == (b"GET", 2)
    with pytest.raises(BadMessage) as refused:
        skip_empty_lines(b"\r\n", 2)
    assert refused.value.cause is Cause.LEADING_JUNK
