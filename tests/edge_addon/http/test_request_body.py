"""A request's body from the client's framing to ours, cut anywhere."""

import pytest

from edge_addon.http.framing import CHUNKED
from edge_addon.http.refusal import BadMessage
from edge_addon.http.request_body import RequestBody


@pytest.mark.parametrize("cut", range(6))
def test_a_length_separates_the_body_from_the_next_request(cut: int) -> None:
    body, whole = RequestBody(5), b"helloGET"
    first, rest = body.read(whole[:cut])
    if cut < 5:
        assert (first, rest) == (whole[:cut], None)
        first, rest = body.read(whole[cut:])
        assert (first, rest) == (b"hello"[cut:], b"GET")
    else:
        assert (first, rest) == (b"hello", b"")
    assert body.size == 5


@pytest.mark.parametrize("cut", range(1, 26))
def test_chunks_are_framed_anew(cut: int) -> None:
    whole = b"5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\nGET"
    body = RequestBody(CHUNKED)
    first, rest = body.read(whole[:cut])
    assert rest is None
    second, rest = body.read(whole[cut:])
    assert rest == b"GET"
    assert body.size == 5
    assert b";" not in first + second
    assert (first + second).endswith(b"0\r\nX-T: 1\r\n\r\n")
    again, _ = RequestBody(CHUNKED).read(first + second)
    assert again == b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"


def test_a_bad_chunk_is_refused() -> None:
    with pytest.raises(BadMessage):
        RequestBody(CHUNKED).read(b"x\r\n")
