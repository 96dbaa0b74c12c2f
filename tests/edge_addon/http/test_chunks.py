"""The chunked coding: any split reads the same, and h11 reads what we write."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.http.chunks import ChunkDecoder, encode_chunk, encode_last_chunk, read_trailers
from edge_addon.http.refusal import BadMessage

TRAILERS = st.lists(st.sampled_from([b"X-A: 1", b"X-B:2", b"ETag: x"]), max_size=3)


def feed(pieces: list[bytes]) -> tuple[bytes, list[bytes], bytes | None]:
    """Return body, trailers and rest; pieces after the end are part of the rest."""
    decoder, body = ChunkDecoder(), b""
    for position, piece in enumerate(pieces):
        data, rest = decoder.feed(piece)
        body += data
        if rest is not None:
            return body, decoder.trailers, rest + b"".join(pieces[position + 1 :])
    return body, [], None


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


def encode(chunks: list[bytes], extensions: list[bytes], trailers: list[bytes]) -> bytes:
    lines = b"".join(
        b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk, extension in zip(chunks, extensions, strict=False)
    )
    return lines + b"0\r\n" + b"".join(trailer + b"\r\n" for trailer in trailers) + b"\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.sampled_from([b"", b";a", b';a="b"', b";a=b;c"]), min_size=8, max_size=8),
    TRAILERS,
    st.binary(max_size=10),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_any_split_of_a_body_reads_the_same(
    chunks: list[bytes], extensions: list[bytes], trailers: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    data = encode(chunks, extensions, trailers) + rest
    assert feed(split(data, cuts)) == (b"".join(chunks), trailers, rest)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=10))
def test_junk_gets_the_same_verdict_in_any_split(junk: bytes, cuts: list[int]) -> None:
    def verdict(pieces: list[bytes]) -> object:
        try:
            return feed(pieces)
        except BadMessage:
            return "refused"

    whole = verdict([junk])
    # In small pieces a fault may show before the end of a line has come, but never later.
    assert verdict(split(junk, cuts)) == whole


@given(st.lists(st.binary(max_size=40), max_size=8), TRAILERS)
def test_what_is_written_is_read_alike_by_h11(chunks: list[bytes], trailers: list[bytes]) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.receive_data(b"".join(map(encode_chunk, chunks)) + encode_last_chunk(trailers))
    assert isinstance(server.next_event(), h11.Request)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(chunks)
    assert len(list(event.headers)) == len(trailers)
    assert server.trailing_data == (b"", False)


def test_chunk_of_nothing_is_not_written() -> None:
    """It would end the body."""
    assert encode_chunk(b"") == b""


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "Transfer-Encoding", "Host", "Trailer", "Authorization", "Set-Cookie", "X-Forwarded-For", "X_Y"],
)
def test_trailer_that_would_change_the_message_is_left_out(name: str) -> None:
    assert read_trailers(f"X-Kept: 1\r\n{name}: 2".encode()) == [b"X-Kept: 1"]
