"""What the edge changes in a request before any addon sees it, and in a response before it goes to the client.

Works on mitmproxy's message objects, does no I/O. The rules are those of the fast path: a request's head has been read
by its reader, names are judged by its tables, where a request came from is said in its words.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

from mitmproxy import http

from edge_addon.http.fields import Field, Treatment, response_fields
from edge_addon.http.framing import CHUNKED, RequestHead
from edge_addon.http.refusal import BadMessage
from edge_addon.http.responses import Answer

_PROTECTED = frozenset((b"content-length", b"content-type", b"set-cookie", b"location", b"sec-websocket-accept"))
"""A Connection header that takes one of these out of a response would change what it means."""


def rewrite_request(request: http.Request, head: RequestHead, forwarded: bytes) -> None:
    """Give the request the fields that go on: those of the head, our framing, where it came from."""
    lines = head.lines[1:]
    if head.is_upgrade:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    if head.expects_continue and head.minor:
        lines.append(b"Expect: 100-continue")  # mitmproxy answers it, and takes it out
    if head.length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    lines += forwarded.split(b"\r\n")
    request.headers = http.Headers([split_line(line) for line in lines])
    request.data.path = head.target
    if not request.is_http2:
        request.data.authority = b""
        request.data.http_version = b"HTTP/1.1"


def clean_response(
    response: http.Response,
    *,
    is_http2: bool,
    minor: int,
    keeps_alive: bool,
    is_last: bool,
    own_fields: tuple[Field, ...],
) -> None:
    """Take out what is between us and the upstream, add what is between us and the client.

    `minor`: of the client's HTTP/1 version; `keeps_alive`: it asked for that; `own_fields` replace the upstream's.
    """
    is_switch = response.status_code == 101
    dropped = {Treatment.DROP}
    if not is_switch:
        dropped |= {Treatment.CONNECTION, Treatment.UPGRADE}
    if is_http2 or not minor:
        dropped.add(Treatment.TRANSFER_ENCODING)  # to HTTP/1.0 the body ends with the connection
    listed = _listed_options(response.headers) if not is_switch else set()
    listed.update(field.name.lower() for field in own_fields)
    kept = [
        (name, value)
        for name, value in response.headers.fields
        if _treatment(name) not in dropped and name.lower() not in listed
    ]
    kept.extend((field.name, field.value) for field in own_fields)
    if not (is_http2 or is_switch):
        response.data.http_version = b"HTTP/1.1"
        if is_last:
            kept.append((b"Connection", b"close"))
        elif not minor and keeps_alive and any(name.lower() == b"content-length" for name, _ in kept):
            kept.append((b"Connection", b"keep-alive"))
    response.headers = http.Headers(kept)


def build_response(answer: Answer, now: datetime) -> http.Response:
    """One of the edge's own answers. Content-Length follows from the body."""
    fields = [(b"Date", format_datetime(now, usegmt=True).encode("ascii")), *map(split_line, answer.fields)]
    response = http.Response.make(answer.status, answer.body, http.Headers(fields))
    response.headers["Content-Length"] = str(len(answer.body))
    return response


def request_fields_of(request: http.Request) -> list[tuple[bytes, bytes]]:
    """An HTTP/2 request's fields as they came: mitmproxy keeps the pseudo-headers elsewhere."""
    data = request.data
    pseudo = [(b":method", data.method), (b":scheme", data.scheme), (b":path", data.path)]
    if data.authority:
        pseudo.append((b":authority", data.authority))
    return pseudo + list(request.headers.fields)


def split_line(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a header line."""
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _treatment(name: bytes) -> Treatment:
    try:
        return response_fields[name]
    except BadMessage:
        return Treatment.DROP


def _listed_options(headers: http.Headers) -> set[bytes]:
    """RFC 9110 §7.6.1: what Connection names is for the next hop only."""
    listed: set[bytes] = set()
    for name, value in headers.fields:
        if name.lower() == b"connection":
            listed.update(option.strip(b" \t").lower() for option in value.split(b","))
    return listed - _PROTECTED
