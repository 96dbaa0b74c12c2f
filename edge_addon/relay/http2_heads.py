"""HTTP/2 heads as HTTP/1.1 heads and back (RFC 9113 §8.2, §8.3).

Pure. A request is written down as HTTP/1.1 and then read by the very reader that HTTP/1.1 clients meet, so each of its
rules holds for HTTP/2 too and nothing can be smuggled in the translation. What HTTP/2 itself forbids (upper case,
connection headers, pseudo-headers out of place) the h2 library has refused before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edge_addon.relay.chunks import read_trailers
from edge_addon.relay.framing import RequestHead, ResponseHead, parse_request
from edge_addon.relay.refusal import BadMessage, Cause

Fields = list[tuple[bytes, bytes]]

_WEBSOCKET = b"websocket"


class Http2Request(NamedTuple):
    """A request's head; `opens_tunnel` for an extended CONNECT (RFC 8441) that asks for a WebSocket."""

    head: RequestHead
    opens_tunnel: bool


def read_request(fields: Iterable[tuple[bytes, bytes]], websocket_key: bytes, *, has_body: bool) -> Http2Request:
    """Translate a request's fields; raises BadMessage. `websocket_key`: what an upgrade asks the upstream with."""
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    host: bytes | None = None
    has_length = False
    for name, value in fields:
        if name[:1] == b":":
            pseudo[name] = value
        elif name == b"host":
            host = value
        else:
            if name == b"te":
                lines.append(b"connection: te")
            has_length = has_length or name == b"content-length"
            lines.append(name + b": " + value)
    opens_tunnel = b":protocol" in pseudo
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if opens_tunnel:
        method = _tunnel_method(method, pseudo[b":protocol"])
        lines += (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: " + websocket_key)
    elif method == b"CONNECT":
        path = pseudo.get(b":authority", b"")
    authority = _authority(pseudo.get(b":authority"), host)
    if has_body and not has_length and not opens_tunnel:
        lines.append(b"transfer-encoding: chunked")
    text = b"\r\n".join((b"%b %b HTTP/1.1" % (method, path), b"host: " + authority, *lines))
    if text.count(b"\n") != len(lines) + 1:
        raise BadMessage(Cause.BARE_LF)  # a line end inside a name or value would have become a line of its own
    return Http2Request(parse_request(text), opens_tunnel)


def _tunnel_method(method: bytes, protocol: bytes) -> bytes:
    if method != b"CONNECT" or protocol != _WEBSOCKET:
        raise BadMessage(Cause.BAD_METHOD, 501 if method == b"CONNECT" else 400)
    return b"GET"


def _authority(authority: bytes | None, host: bytes | None) -> bytes:
    """RFC 9113 §8.3.1: a Host beside :authority must say the same."""
    if authority is None:
        if host is None:
            raise BadMessage(Cause.NO_HOST)
        return host
    if host is not None and host.lower() != authority.lower():
        raise BadMessage(Cause.HOST_CONFLICT)
    return authority


def response_fields(head: ResponseHead, hsts: bytes | None, *, is_tunnel: bool = False) -> Fields:
    """A response's fields for h2, names in lower case; `hsts` is a whole line of ours that replaces the upstream's."""
    fields: Fields = [(b":status", b"200" if is_tunnel else b"%d" % head.status)]
    for line in head.lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if is_tunnel and name in (b"sec-websocket-accept", b"content-length"):
            continue
        fields.append((name, value.strip(b" \t")))
    if hsts is not None:
        fields.append(split_line(hsts))
    elif head.hsts is not None:
        fields.append((b"strict-transport-security", head.hsts))
    return fields


def trailer_fields(trailers: Iterable[bytes]) -> Fields:
    """Trailer lines, checked by the upstream's reader, as fields."""
    return [split_line(line) for line in trailers]


def read_trailer_fields(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """A request's trailer fields as lines that may be passed on; raises BadMessage."""
    lines = [name + b": " + value for name, value in fields]
    section = b"\r\n".join(lines)
    if section.count(b"\n") != max(len(lines) - 1, 0):
        raise BadMessage(Cause.BARE_LF)
    return read_trailers(section) if lines else []


def split_line(line: bytes) -> tuple[bytes, bytes]:
    """A header line as a field."""
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")
