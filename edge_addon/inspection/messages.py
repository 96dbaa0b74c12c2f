"""HTTP messages as mitmproxy's objects, and back.

Pure. A request is built from the head that the relay would send, so addons see exactly what the upstream would get. A
response is read again by the relay's own reader after the addons, so the client gets one unambiguous message whatever
they did to it. The relay always writes the length of a body itself and ignores what addons put into Content-Length or
Transfer-Encoding.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypedDict

from mitmproxy import http

from edge_addon.http.chunks import read_trailers
from edge_addon.http.connection_login import carries_login
from edge_addon.http.fields import FieldTable, response_fields
from edge_addon.http.framing import BODILESS, CHUNKED, ResponseHead, parse_request, parse_response
from edge_addon.http.refusal import BadMessage, Cause

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))

_CREDENTIALS = frozenset((b"authorization", b"proxy-authorization"))


def build_request(head: bytes, scheme: str, host: str, port: int, *, is_http2: bool) -> http.Request:
    """The request with this head, given without its last CRLF CRLF, for the upstream at scheme, host and port."""
    first, *lines = head.split(b"\r\n")
    method, target, version = first.split(b" ")
    headers = _headers(lines)
    request = http.Request(
        host=host,
        port=port,
        method=method,
        scheme=scheme.encode("ascii"),
        authority=headers["host"].encode("utf-8", "surrogateescape") if is_http2 else b"",
        path=target,
        http_version=b"HTTP/2.0" if is_http2 else version,
        headers=headers,
        **_unknown(),
    )
    return _streaming(request)


def encode_request(request: http.Request, length: int) -> bytes:
    """The head to send, for a body of `length` bytes or CHUNKED; raises BadMessage."""
    lines = [b"%b %b HTTP/1.1" % (request.data.method, request.data.path), *_unframed(request)]
    if length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif length or "content-length" in request.headers:
        lines.append(b"Content-Length: %d" % length)
    text = _join(lines)
    parse_request(text)  # for its checks: what it would drop, the addon may send
    if request.data.method == b"CONNECT":
        raise BadMessage(Cause.BAD_METHOD)  # the admission refuses it too: the connection would become a tunnel
    return text + b"\r\n\r\n"


def is_login(request: http.Request) -> bool:
    """Whether it carries credentials of a login that belongs to its connection."""
    return any(name.lower() in _CREDENTIALS and carries_login(value) for name, value in request.headers.fields)


def build_response(head: ResponseHead) -> http.Response:
    """The response with this head."""
    version, _, rest = head.lines[0].partition(b" ")
    lines = head.lines[1:]
    if head.status == 101:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    response = http.Response(
        http_version=version, status_code=head.status, reason=rest[4:], headers=_headers(lines), **_unknown()
    )
    return _streaming(response)


def read_response(
    response: http.Response, length: int, *, is_head_request: bool, fields: FieldTable = response_fields
) -> ResponseHead:
    """The head to answer with, for a body of `length` bytes, negative if that is not known; raises BadMessage."""
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, response.data.reason)]
    if is_head_request or response.status_code in BODILESS:
        lines += map(_line, response.headers.fields)  # their length is that of the answer to a GET
    else:
        lines += _unframed(response)
        if length >= 0:
            lines.append(b"Content-Length: %d" % length)
    return parse_response(_join(lines), is_head_request=is_head_request, fields=fields)


def add_trailers(message: http.Message, lines: list[bytes]) -> None:
    """Show addons the trailers that have come."""
    if lines:
        message.trailers = _headers(lines)


def trailer_lines(message: http.Message) -> list[bytes]:
    """The trailers to send, without those that a trailer may not hold; raises BadMessage."""
    return read_trailers(_join([_line(field) for field in message.trailers.fields])) if message.trailers else []


class Streamed:
    """A body on its way through a message's `stream` function, if an addon has set one."""

    def __init__(self, message: http.Message, *, is_kept: bool) -> None:
        """`is_kept`: the message gets the whole content at the end (mitmproxy's option `store_streamed_bodies`)."""
        self._message = message
        self._stream = message.stream if callable(message.stream) else None  # set later, it would belie the length sent
        self._kept: list[bytes] | None = [] if is_kept else None

    def piece(self, data: bytes) -> bytes:
        """What to send for these bytes."""
        if self._stream is not None:
            made = self._stream(data)
            data = made if isinstance(made, bytes) else b"".join(made)
        if self._kept is not None:
            self._kept.append(data)
        return data

    def rest(self) -> bytes:
        """What to send at the end."""
        data = self.piece(b"") if self._stream is not None else b""
        if self._kept is not None:
            self._message.data.content = b"".join(self._kept)
        return data


class _Unknown(TypedDict):
    content: bytes
    trailers: http.Headers
    timestamp_start: float
    timestamp_end: float


def _unknown() -> _Unknown:
    """Values for what is known only at the end.

    Not None: mitmproxy's type check would catch an exception for each None and leave it in a cycle with the frames of
    all callers, the exchange's among them, for the garbage collector.
    """
    return {"content": b"", "trailers": http.Headers(), "timestamp_start": time.time(), "timestamp_end": 0.0}


def _streaming[M: http.Message](message: M) -> M:
    """The message, whose body streams past addons unless one of them asks for it."""
    message.stream = True
    message.data.content = message.data.trailers = message.data.timestamp_end = None
    return message


def _headers(lines: Iterable[bytes]) -> http.Headers:
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return http.Headers(fields)


def _unframed(message: http.Message) -> list[bytes]:
    """The fields without those that give the length of the body."""
    return [_line(field) for field in message.headers.fields if field[0].lower() not in _FRAMING]


def _join(lines: list[bytes]) -> bytes:
    """The lines as one text; raises BadMessage for a line end within one."""
    text = b"\r\n".join(lines)
    if text.count(b"\n") != len(lines) - 1:
        raise BadMessage(Cause.BARE_LF)
    return text


def _line(field: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b" % field
