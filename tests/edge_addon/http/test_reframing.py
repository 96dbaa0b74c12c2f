"""Heads as they are written towards the other side."""

import pytest

from edge_addon.http.fields import build_fields, replacing_table
from edge_addon.http.framing import parse_request, parse_response
from edge_addon.http.reframing import bare_head, request_bytes, response_bytes

OWN = build_fields([("Strict-Transport-Security", "max-age=2"), ("X-Own", "1")])
RESPONSE = b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nX-OWN: 0\r\nX-Kept: 1\r\nContent-Length: 0"


def test_fields_of_our_own_take_the_upstreams_place() -> None:
    head = parse_response(RESPONSE, is_head_request=False, fields=replacing_table(OWN))
    data, _, _ = response_bytes(head, b"", 1, OWN, is_complete=True, is_last=False)
    assert data.split(b"\r\n")[1:] == [
        b"X-Kept: 1", b"Content-Length: 0", b"Strict-Transport-Security: max-age=2", b"X-Own: 1", b"", b"",
    ]  # fmt: skip


def test_without_fields_of_our_own_the_upstreams_stay_as_they_are() -> None:
    head = parse_response(RESPONSE, is_head_request=False)
    data, _, _ = response_bytes(head, b"", 1, (), is_complete=True, is_last=False)
    assert data == RESPONSE + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("minor", "is_complete", "is_last", "ending", "is_chunked", "ends"),
    [
        (1, True, False, b"Content-Length: 2\r\n\r\nok", False, False),
        (1, False, False, b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", True, False),
        (1, False, True, b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n", True, True),
        (0, True, False, b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok", False, False),
        (0, False, False, b"Connection: close\r\n\r\nok", False, True),
    ],
)
def test_a_body_without_a_length_gets_the_framing_that_its_client_knows(
    minor: int, is_complete: bool, is_last: bool, ending: bytes, is_chunked: bool, ends: bool
) -> None:
    head = parse_response(b"HTTP/1.1 200 OK\r\nX-A: 1", is_head_request=False)
    written = response_bytes(head, b"ok", minor, (), is_complete=is_complete, is_last=is_last)
    assert written == (b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + ending, is_chunked, ends)


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        (b"Connection: upgrade\r\nUpgrade: websocket", [b"Connection: Upgrade", b"Upgrade: websocket"]),
        (b"Connection: te\r\nTE: gzip, trailers", [b"Connection: TE", b"TE: trailers"]),
        (b"Connection: close, X-A\r\nX-A: 1", []),
        (b"Expect: 100-Continue\r\nTransfer-Encoding: Chunked", [
            b"Expect: 100-continue", b"Transfer-Encoding: chunked",
        ]),
    ],
)  # fmt: skip
def test_a_request_gets_our_connection_headers_and_framing(fields: bytes, lines: list[bytes]) -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields)
    written = request_bytes(head, b"X-Real-IP: 192.0.2.1", b"body")
    start = [b"GET / HTTP/1.1", b"Host: a.test"]
    assert written.split(b"\r\n") == [*start, *lines, b"X-Real-IP: 192.0.2.1", b"", b"body"]


def test_a_bare_head_takes_more_lines() -> None:
    head = parse_response(b"HTTP/1.1 103 Early Hints\r\nLink: </x>", is_head_request=False)
    assert bare_head(head, b"X-A: 1") == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-A: 1\r\n\r\n"
