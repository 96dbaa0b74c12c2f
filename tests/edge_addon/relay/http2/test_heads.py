"""Heads between HTTP/2 and HTTP/1.1: what is passed on has one meaning for any input."""

import hpack
import pytest
from h2.utilities import HeaderValidationFlags, validate_headers
from hypothesis import example, given
from hypothesis import strategies as st

from edge_addon.http.fields import build_fields, replacing_table
from edge_addon.http.framing import CHUNKED, parse_request, parse_response
from edge_addon.http.reframing import request_bytes
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.relay.http2.heads import read_request, read_trailer_fields, response_block, trailer_block

KEY = b"a2V5a2V5a2V5a2V5a2V5aw=="
GOOD = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/p")]
TUNNEL = [(b":method", b"CONNECT"), *GOOD[1:], (b":protocol", b"websocket")]
OF_A_REQUEST = HeaderValidationFlags(is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False)

NAMES = st.one_of(
    st.sampled_from(
        [b":method", b":scheme", b":authority", b":path", b":protocol", b":status", b"host", b"cookie", b"te", b"x-a",
         b"content-length", b"connection", b"upgrade", b"transfer-encoding", b"expect", b"sec-websocket-key", b"X-A"]
    ),
    st.binary(max_size=6),
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [b"GET", b"CONNECT", b"https", b"a.test", b"/", b"*", b"websocket", b"trailers", b"0", b"5", b"", b"chunked",
         b"a\r\nb: c", b"a\nb", b" a", b"a\0"]
    ),
    st.binary(max_size=8),
)  # fmt: skip
FIELDS = st.builds(
    lambda start, drop, more: [each for each in start if each[0] != drop] + more,
    st.sampled_from([GOOD, TUNNEL, []]),
    st.sampled_from([b"", b":method", b":path", b":authority", b":scheme"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
)


def key() -> bytes:
    return KEY


def request(*fields: tuple[bytes, bytes], is_end: bool = True) -> tuple[bytes, ...]:
    """Return the head's lines as the upstream gets them."""
    head = read_request(fields, key, is_end=is_end).head
    return tuple(request_bytes(head, b"X-Ours: 1", b"").removesuffix(b"\r\n\r\n").split(b"\r\n"))


@given(FIELDS, st.booleans())
@example([*GOOD, (b"content-length", b"5")], True)
def test_any_fields_are_refused_or_read_back_as_the_same_request(
    fields: list[tuple[bytes, bytes]], is_end: bool
) -> None:
    try:
        read, websocket_key = read_request(fields, key, is_end=is_end)
    except BadMessage:
        return
    pseudo = dict(fields)
    again = parse_request(request_bytes(read, b"X-Ours: 1", b"").partition(b"\r\n\r\n")[0])
    assert (again.method, again.target, again.host) == (read.method, read.target, read.host)
    assert again.length == read.length
    assert again.is_upgrade == bool(websocket_key)
    if websocket_key:
        assert (pseudo[b":method"], again.method, again.length) == (b"CONNECT", b"GET", 0)
    else:
        assert again.method == pseudo[b":method"]
        assert again.length == 0 if is_end else again.length == CHUNKED or b"content-length" in pseudo
    # One line for each field that came, besides ours; another line would be a field that nobody sent.
    assert len(again.lines) <= len(fields) + 7


@given(FIELDS, st.booleans())
def test_what_the_h2_library_would_refuse_is_refused(fields: list[tuple[bytes, bytes]], is_end: bool) -> None:
    """Its validation is switched off, so ours must cover it."""
    if dict(fields).get(b":method") == b"CONNECT" and b":protocol" not in dict(fields):
        return  # the library requires a path of CONNECT, against RFC 9113 §8.5
    try:
        list(validate_headers([hpack.HeaderTuple(*each) for each in fields], OF_A_REQUEST))
    except Exception:  # noqa: BLE001  its generators index values that may be empty
        with pytest.raises(BadMessage):
            read_request(fields, key, is_end=is_end)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_trailers_are_refused_or_keep_their_lines(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        lines = read_trailer_fields(fields)
    except BadMessage:
        return
    assert set(lines) <= {name + b": " + value for name, value in fields}
    assert not any(byte in line for line in lines for byte in b"\r\n\0")


def test_a_body_without_a_length_goes_in_chunks() -> None:
    assert b"Transfer-Encoding: chunked" in request(*GOOD, is_end=False)


def test_a_body_with_a_length_keeps_it() -> None:
    lines = request(*GOOD, (b"content-length", b"5"), is_end=False)
    assert b"Content-Length: 5" in lines
    assert not [line for line in lines if line.lower().startswith(b"transfer-encoding")]


def test_no_body_needs_no_framing() -> None:
    lines = [line.lower() for line in request(*GOOD)]
    assert not [line for line in lines if line.startswith((b"transfer-encoding", b"content-length"))]


def test_a_length_that_no_body_can_have_is_refused() -> None:
    with pytest.raises(BadMessage) as refused:
        request(*GOOD, (b"content-length", b"5"))
    assert refused.value.cause is Cause.BAD_LENGTH


def test_a_websocket_asks_the_upstream_with_a_key_of_ours() -> None:
    lines = request(*TUNNEL, (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"theirs"), is_end=False)
    assert lines[0] == b"GET /p HTTP/1.1"
    assert {b"Connection: Upgrade", b"Upgrade: websocket", b"sec-websocket-version: 13"} <= set(lines)
    assert [line for line in lines if line.startswith(b"sec-websocket-key")] == [b"sec-websocket-key: " + KEY]


def test_only_a_websocket_gets_a_key() -> None:
    def none() -> bytes:
        raise AssertionError("no key was needed")

    read_request(GOOD, none, is_end=True)


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in hpack.Decoder().decode(block, raw=True)]


RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Long:  v  \r\nConnection: x-hop\r\nX-Hop: 1\r\n"
    b"Transfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nStrict-Transport-Security: max-age=1"
)


def test_a_response_loses_its_connection_headers_and_its_capitals() -> None:
    head = parse_response(RESPONSE, is_head_request=False)
    assert decoded(response_block(head, ())) == [
        (b":status", b"200"),
        (b"content-type", b"text/html"),
        (b"x-long", b"v"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"strict-transport-security", b"max-age=1"),
    ]


def test_a_field_of_our_own_takes_the_upstreams_place() -> None:
    own_fields = build_fields([("Strict-Transport-Security", "max-age=2")])
    head = parse_response(RESPONSE, is_head_request=False, fields=replacing_table(own_fields))
    fields = decoded(response_block(head, own_fields))
    assert [value for name, value in fields if name == b"strict-transport-security"] == [b"max-age=2"]


def test_an_open_tunnel_is_a_200_without_the_upgrades_own_fields() -> None:
    head = parse_response(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat",
        is_head_request=False,
    )
    assert decoded(response_block(head, (), is_tunnel=True)) == [
        (b":status", b"200"),
        (b"sec-websocket-protocol", b"chat"),
    ]


def test_trailer_lines_are_fields_again() -> None:
    assert decoded(trailer_block([b"X-Sum: 1", b"x-b:2 "])) == [(b"x-sum", b"1"), (b"x-b", b"2")]
