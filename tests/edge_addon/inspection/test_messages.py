"""Messages as mitmproxy's objects and back, by table."""

from collections.abc import Callable, Iterable

import pytest
from mitmproxy import http

from edge_addon.http.fields import build_fields, replacing_table
from edge_addon.http.framing import CHUNKED, UNTIL_CLOSE, parse_response
from edge_addon.http.refusal import BadMessage
from edge_addon.inspection.messages import (
    Streamed,
    add_trailers,
    build_request,
    build_response,
    encode_request,
    read_response,
    trailer_lines,
)

HEAD = b"POST /x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-A:  1 \r\nContent-Length: 3"


def request(head: bytes = HEAD, *, is_http2: bool = False) -> http.Request:
    return build_request(head, "http", "127.0.0.1", 8080, is_http2=is_http2)


def response(*lines: bytes, status: bytes = b"200 OK") -> http.Response:
    return build_response(parse_response(b"\r\n".join((b"HTTP/1.1 " + status, *lines)), is_head_request=False))


@pytest.mark.parametrize("is_http2", [False, True])
def test_addons_see_the_request_that_would_go_to_the_upstream(is_http2: bool) -> None:
    shown = request(is_http2=is_http2)
    assert (shown.method, shown.scheme, shown.host, shown.port, shown.path) == (
        "POST", "http", "127.0.0.1", 8080, "/x?y=1")  # fmt: skip
    assert shown.pretty_host == "a.test"
    assert shown.headers.fields == ((b"Host", b"a.test"), (b"X-A", b"1"), (b"Content-Length", b"3"))
    assert (shown.is_http2, shown.authority) == (is_http2, "a.test" if is_http2 else "")


@pytest.mark.parametrize(
    ("length", "framing"),
    [(3, b"Content-Length: 3"), (0, b"Content-Length: 0"), (CHUNKED, b"Transfer-Encoding: chunked")],
)
def test_the_relay_writes_the_length_whatever_an_addon_claims(length: int, framing: bytes) -> None:
    changed = request()
    changed.headers["Transfer-Encoding"] = "gzip, chunked"
    changed.headers["content-length"] = "99"
    assert encode_request(changed, length) == (
        b"POST /x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n" + framing + b"\r\n\r\n"
    )


def test_a_request_without_a_body_gets_no_length() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a.test"
    assert encode_request(request(head), 0) == head + b"\r\n\r\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda shown: shown.headers.add("X-B", "1\r\nX-C: 2"),
        lambda shown: shown.headers.add("X-B", "1\n"),
        lambda shown: shown.headers.add("X-B\r\nX-C", "1"),
        lambda shown: setattr(shown, "path", "/ HTTP/1.1\r\nX-C: 2"),
        lambda shown: setattr(shown, "path", "/a b"),
        lambda shown: setattr(shown, "method", "GET /other"),
        lambda shown: setattr(shown, "method", "CONNECT"),
        lambda shown: shown.headers.add("Transfer-Encoding ", "chunked"),
        lambda shown: shown.headers.add("Transfer-Encoding: chunked\tX", "1"),
        lambda shown: shown.headers.add("Content-Length\x00", "9"),
        lambda shown: shown.headers.add("", "1"),
        lambda shown: shown.headers.add("host", "b.test"),
        lambda shown: shown.headers.pop("host"),
        lambda shown: shown.headers.add("Connection", "content-length"),
        lambda shown: setattr(shown, "path", ""),
        lambda shown: setattr(shown, "path", "http://b.test/"),
    ],
    ids=[
        "CRLF in value",
        "LF in value",
        "CRLF in name",
        "CRLF in path",
        "blank in path",
        "blank in method",
        "tunnel",
        "blank behind name",
        "colon in name",
        "NUL in name",
        "no name",
        "two hosts",
        "no host",
        "length listed",
        "no path",
        "another host's path",
    ],
)
def test_what_an_addon_makes_can_not_become_another_request(change: Callable[[http.Request], None]) -> None:
    changed = request()
    change(changed)
    with pytest.raises(BadMessage):
        encode_request(changed, 0)


def lines_of(changed: http.Response, length: int, *, is_head_request: bool = False) -> list[bytes]:
    return read_response(changed, length, is_head_request=is_head_request).lines[1:]


def test_a_response_comes_through_as_it_was() -> None:
    head = read_response(response(b"X-A: 1"), 5, is_head_request=False)
    assert head.lines == [b"HTTP/1.1 200 OK", b"X-A: 1", b"Content-Length: 5"]
    assert head.length == 5


def test_an_addon_can_not_set_a_field_that_the_edge_sets_on_every_answer() -> None:
    changed = response()
    changed.headers["Strict-Transport-Security"] = "max-age=0"
    own = build_fields([("Strict-Transport-Security", "max-age=9")])
    head = read_response(changed, 0, is_head_request=False, fields=replacing_table(own))
    assert head.lines[1:] == [b"Content-Length: 0"]


def test_a_response_of_unknown_length_says_none() -> None:
    changed = response(b"Content-Length: 5")
    assert lines_of(changed, UNTIL_CLOSE) == []


@pytest.mark.parametrize(("status", "is_head_request"), [(b"200 OK", True), (b"304 Not Modified", False)])
def test_a_response_that_never_has_a_body_keeps_the_length_that_it_gives(status: bytes, is_head_request: bool) -> None:
    shown = response(b"Content-Length: 500", status=status)
    assert lines_of(shown, 0, is_head_request=is_head_request) == [b"Content-Length: 500"]


def test_fields_that_are_not_for_the_client_are_dropped_even_when_an_addon_sets_them() -> None:
    changed = response()
    changed.headers["Connection"] = "close, X-Gone"
    changed.headers["X-Gone"] = "1"
    changed.headers["Transfer-Encoding"] = "gzip"
    assert lines_of(changed, 2) == [b"Content-Length: 2"]


@pytest.mark.parametrize(("name", "value"), [("X-B", "1\r\nX-C: 2"), ("X B", "1")])
def test_a_response_that_an_addon_spoils_is_refused(name: str, value: str) -> None:
    changed = response()
    changed.headers[name] = value
    with pytest.raises(BadMessage):
        read_response(changed, 0, is_head_request=False)


def test_an_upgrade_shows_addons_what_it_switches_to() -> None:
    shown = response(b"Connection: upgrade", b"Upgrade: WebSocket", status=b"101 Switching Protocols")
    assert shown.headers["upgrade"] == "websocket"
    assert read_response(shown, UNTIL_CLOSE, is_head_request=False).status == 101


def test_trailers_are_shown_and_sent() -> None:
    shown = response()
    add_trailers(shown, [])
    assert trailer_lines(shown) == []
    add_trailers(shown, [b"X-Sum: 1"])
    assert shown.trailers is not None
    shown.trailers["X-More"] = "2"
    assert trailer_lines(shown) == [b"X-Sum: 1", b"X-More: 2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Sum", "1\r\n\r\nGET / HTTP/1.1"), ("X-Sum\r\nX-More", "1"), ("X Sum", "1"), ("X-Sum", "1\n"), ("", "1")],
)
def test_trailers_that_an_addon_spoils_are_refused(name: str, value: str) -> None:
    changed = response()
    changed.trailers = http.Headers()
    changed.trailers[name] = value
    with pytest.raises(BadMessage):
        trailer_lines(changed)


def test_a_trailer_may_not_frame_or_route_even_when_an_addon_sets_it() -> None:
    changed = response()
    changed.trailers = http.Headers(content_length="5", host="b.test", transfer_encoding="chunked", x_sum="1")
    assert trailer_lines(changed) == [b"x-sum: 1"]


def test_a_function_that_an_addon_sets_after_the_head_was_sent_changes_nothing() -> None:
    message = response()
    body = Streamed(message, is_kept=False)
    message.stream = lambda data: data * 2
    assert body.piece(b"ab") + body.rest() == b"ab"


def doubled(data: bytes) -> Iterable[bytes]:
    return (data, data) if data else [b"end"]


@pytest.mark.parametrize(
    ("stream", "sent"),
    [(True, b"abcd"), (bytes.upper, b"ABCD"), (doubled, b"ababcdcdend")],
    ids=["unchanged", "bytes", "several pieces and a rest"],
)
def test_a_body_passes_the_function_that_an_addon_sets(
    stream: bool | Callable[[bytes], bytes | Iterable[bytes]], sent: bytes
) -> None:
    for is_kept in (False, True):
        message = response()
        message.stream = stream
        body = Streamed(message, is_kept=is_kept)
        assert body.piece(b"ab") + body.piece(b"cd") + body.rest() == sent
        assert message.raw_content == (sent if is_kept else None)
