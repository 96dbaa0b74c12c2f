"""How a message is written towards the other side: with the edge's own framing and connection headers. Pure."""

from __future__ import annotations

from typing import NamedTuple

from edge_addon.http.chunks import encode_chunk
from edge_addon.http.fields import Field
from edge_addon.http.framing import CHUNKED, RequestHead, ResponseHead


class Reframed(NamedTuple):
    """A response's first bytes, whether its body continues in chunks, and whether the connection ends with it."""

    data: bytes
    is_chunked: bool
    is_last: bool


def request_bytes(head: RequestHead, forwarded: bytes, body: bytes) -> bytes:
    """Write a request for an upstream with the beginning of its body, already framed. Consumes the head."""
    lines = head.lines
    if head.is_upgrade:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    elif head.accepts_trailers:
        lines += (b"Connection: TE", b"TE: trailers")
    if head.expects_continue and head.minor:
        lines.append(b"Expect: 100-continue")
    if head.length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    lines += (forwarded, b"", body)
    return b"\r\n".join(lines)


def response_bytes(
    head: ResponseHead, body: bytes, minor: int, own_fields: tuple[Field, ...], *, is_complete: bool, is_last: bool
) -> Reframed:
    """Write a response for a client of HTTP/1.`minor` with the beginning of its body, or all. Consumes the head.

    A body without a length is sent in chunks, or to an HTTP/1.0 client until the connection ends.
    """
    lines = head.lines
    is_chunked = False
    if head.length < 0:
        if is_complete:
            lines.append(b"Content-Length: %d" % len(body))
        elif minor:
            is_chunked = True
            lines.append(b"Transfer-Encoding: chunked")
            body = encode_chunk(body)
        else:
            is_last = True
    if own_fields:
        lines += [field.line for field in own_fields]
    if is_last:
        lines.append(b"Connection: close")
    elif not minor:
        lines.append(b"Connection: keep-alive")
    lines += (b"", body)
    return Reframed(b"\r\n".join(lines), is_chunked, is_last)


def bare_head(head: ResponseHead, *fields: bytes) -> bytes:
    """Write a 1xx response. Consumes the head."""
    head.lines += (*fields, b"", b"")
    return b"\r\n".join(head.lines)
