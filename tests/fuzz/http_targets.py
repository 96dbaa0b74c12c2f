"""Heads against h11 and httptools, chunks against h11, hosts and challenges."""

from __future__ import annotations

import contextlib

import h11

from edge_addon.http.chunks import ChunkDecoder, encode_chunk, encode_last_chunk
from edge_addon.http.framing import RequestHead, parse_response
from edge_addon.http.http01 import answer_challenge
from edge_addon.http.partial_head import PartialHead, PartialResponse
from edge_addon.http.refusal import BadMessage
from edge_addon.http.target import parse_host
from tests.edge_addon.http import test_framing as framing
from tests.fuzz.target import Target, pieces, words

_LIMIT = 65536


def check_request(data: bytes) -> None:
    """What is accepted, httptools and h11 read alike; what is passed on, h11 reads as the same request."""
    _check_partial(PartialHead(_LIMIT), PartialHead(_LIMIT), data)
    head = framing.try_request(data)
    if head is not None:
        framing.assert_httptools_reads_the_request_alike(data)
        framing.assert_h11_reads_the_request_alike(data)
        assert isinstance(head, RequestHead)
        assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in head.lines)


def check_response(data: bytes) -> None:
    _check_partial(PartialResponse(_LIMIT), PartialResponse(_LIMIT), data)
    for is_head_request in (False, True):
        with contextlib.suppress(BadMessage):
            head = parse_response(data, is_head_request=is_head_request)
            assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in head.lines)
    framing.assert_httptools_reads_the_response_alike(data)


def _check_partial(whole: PartialHead, cut: PartialHead, data: bytes) -> None:
    """In pieces, a head is complete with the same bytes or refused as in one."""
    if data and b"\r\n\r\n" not in data:
        with contextlib.suppress(BadMessage):
            for piece in pieces(data):
                assert cut.feed(piece) is None
            assert cut.feed(b"\r\n\r\n") == data + b"\r\n\r\n"
            whole.feed(data)  # pieces show no fewer faults than the whole


def check_chunks(data: bytes) -> None:
    """Any cut reads the same, and h11 reads what is passed on."""
    whole = _decode([data])
    assert _decode(pieces(data)) == whole
    assert _decode([data[at : at + 1] for at in range(len(data))]) == whole
    if whole is not None and whole[2] is not None:
        body, trailers, _ = whole
        server = h11.Connection(h11.SERVER)
        server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.receive_data(encode_chunk(body) + encode_last_chunk(trailers))
        assert isinstance(server.next_event(), h11.Request)
        read = b""
        while isinstance(event := server.next_event(), h11.Data):
            read += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert read == body
        assert len(list(event.headers)) == len(trailers)


def _decode(parts: list[bytes]) -> tuple[bytes, list[bytes], bytes | None] | None:
    """Body, trailers and rest; None for a body that is refused."""
    decoder, body = ChunkDecoder(), b""
    try:
        for position, part in enumerate(parts):
            data, rest = decoder.feed(part)
            body += data
            if rest is not None:
                return body, decoder.trailers, rest + b"".join(parts[position + 1 :])
    except BadMessage:
        return None
    return body, [], None


def check_host(data: bytes) -> None:
    with contextlib.suppress(BadMessage):
        host = parse_host(data)
        assert host.name.isascii()
        assert not set(host.name) & set(" \t\r\n/\\@?#%,;\"'<>")
        assert host.port is None or 0 <= host.port < 65536


def check_challenge(data: bytes) -> None:
    target = data.decode("latin-1")
    answer = answer_challenge("GET", target, lambda token: None)
    if answer is not None and answer.may_pass:
        path = target.partition("?")[0]
        assert path.count("/") == 3
        assert not set(path) & set("%\\;:\0\r\n")
        assert not path.rpartition("/")[2].startswith(".")


_FIELDS = words(
    "Host: Content-Length: Transfer-Encoding: Connection: Upgrade: TE: Expect: X-Forwarded-For: Forwarded: Cookie:"
    " chunked close keep-alive websocket trailers 100-continue a.test b.test [::1]:80 http://a.test/ HTTP/1.1 HTTP/1.0"
    " GET POST CONNECT OPTIONS * / 0 1 5 +5 0x5 5,5 gzip, ,chunked , ; _ identity Proxy-Connection: Trailer:"
)
_ENDS = (b"\r\n", b"\n", b"\r", b" ", b"\t", b"\r\n ", b": ", b" :", b"\0", b"\x0b", b"\xff")
TARGETS = {
    "request-head": Target(
        check_request,
        (
            b"GET /x HTTP/1.1\r\nHost: a.test\r\nAccept: */*",
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX-A: b",
            b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE",
            b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, X-A\r\nUpgrade: websocket\r\nX-A: 1",
            b"GET http://a.test/y?z HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\nExpect: 100-continue",
            b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive",
        ),
        (*_FIELDS, *_ENDS),
    ),
    "response-head": Target(
        check_response,
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X",
            b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0",
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>",
        ),
        (*_FIELDS, *_ENDS, b"HTTP/1.1 ", b"200", b"204", b"304", b"100"),
    ),
    "chunks": Target(
        check_chunks,
        (
            b"5\r\nhello\r\n0\r\n\r\n",
            b'5;a=b\r\nhello\r\n6;x="y"\r\n world\r\n0\r\nX-T: 1\r\n\r\nGET',
            b"00000a\r\n0123456789\r\n0\r\n\r\n",
            b"0\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            b"\r\n",
            b"\n",
            b"\r",
            b"0",
            b"0\r\n\r\n",
            b"5\r\n",
            b"f",
            b"F",
            b"FFFFFFFFFFFFFFFF",
            b";",
            b"=",
            b'"',
            b" ",
            b"-1",
            b"+1",
            b"0x",
            b"X: 1\r\n",
            b"Host: a\r\n",
            b" x\r\n",
        ),
        200,
    ),
    "host": Target(
        check_host,
        (b"a.test", b"a.test:80", b"[2001:db8::1]:443", b"192.0.2.1:8080", b"xn--e1afmkfd.test."),
        words(": :65535 :65536 [ ] . .. @ / % %41 _ - :: ::ffff:192.0.2.1 a"),
        300,
    ),
    "challenge": Target(
        check_challenge,
        (
            b"/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
            b"/.well-known/acme-challenge/t.txt?x",
        ),
        words("/ .. ../ ./ %2e %2f \\ ; ? # // . .well-known acme-challenge"),
    ),
}
