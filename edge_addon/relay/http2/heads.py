"""HTTP/2 heads as HTTP/1.1 heads and back (RFC 9113 §8.2, §8.3).

Pure. What HTTP/2 itself forbids (upper case, connection headers, misplaced pseudo-headers) is refused here. Then the
request is written as HTTP/1.1 and read by the same reader as the requests of HTTP/1.1 clients, so each of its rules
holds for HTTP/2 too and nothing can be smuggled in the translation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from edge_addon.http.chunks import read_trailers
from edge_addon.http.fields import TOKEN, Field
from edge_addon.http.framing import RequestHead, ResponseHead, parse_request
from edge_addon.http.name_memo import NameMemo
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.http.responses import Answer
from edge_addon.relay.http2.hpack import Fields, encode_field, encode_status

_WEBSOCKET = b"websocket"
_BLANKS = b" \t"
_LOWER = TOKEN.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _Kind(IntEnum):
    """The kinds of fields in a request. PLAIN is 0, so that the usual case takes one truth test."""

    PLAIN = 0
    PSEUDO = 1
    HOST = 2
    COOKIE = 3
    CONTENT_LENGTH = 4
    TE = 5
    CONNECTION = 6
    WEBSOCKET_KEY = 7


_KINDS = {
    **dict.fromkeys((b":method", b":scheme", b":authority", b":path", b":protocol"), _Kind.PSEUDO),
    b"host": _Kind.HOST,
    b"cookie": _Kind.COOKIE,
    b"content-length": _Kind.CONTENT_LENGTH,
    b"te": _Kind.TE,
    b"sec-websocket-key": _Kind.WEBSOCKET_KEY,
    # RFC 9113 §8.2.2: a message with one of them is malformed.
    **dict.fromkeys(
        (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"), _Kind.CONNECTION
    ),
}


class _Names(NameMemo[_Kind]):
    """`names[name]` is the kind of a field; raises BadMessage for an invalid name in HTTP/2."""

    __slots__ = ()

    def work_out(self, name: bytes) -> _Kind:
        if not name or name.translate(None, _LOWER):
            raise BadMessage(Cause.BAD_FIELD_NAME)  # unknown pseudo-headers too, because of their colon
        return _Kind.PLAIN


_names = _Names(_KINDS)


class Http2Request(NamedTuple):
    """A request's head; `websocket_key` is our key for the upstream, if this is an extended CONNECT (RFC 8441)."""

    head: RequestHead
    websocket_key: bytes


class _Parts:
    """A request's fields, sorted."""

    __slots__ = ("cookies", "has_length", "host", "lines", "pseudo")

    def __init__(self) -> None:
        self.pseudo: dict[bytes, bytes] = {}
        self.lines: list[bytes] = []
        self.cookies: list[bytes] = []
        self.host: bytes | None = None
        self.has_length = False

    def read(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        pseudo, lines = self.pseudo, self.lines
        for position, (name, value) in enumerate(fields):
            if value[:1] in _EDGES or value[-1:] in _EDGES:
                raise BadMessage(Cause.CONTROL_CHARACTER)  # RFC 9113 §8.2.1: no blank at either end
            kind = _names[name]
            if not kind:
                lines.append(b"%b: %b" % (name, value))
            elif kind is _Kind.PSEUDO:
                if name in pseudo or len(pseudo) != position:
                    raise BadMessage(Cause.BAD_REQUEST_LINE)  # twice, or behind another field
                pseudo[name] = value
            else:
                self._read_special(kind, value)

    def _read_special(self, kind: _Kind, value: bytes) -> None:
        if kind is _Kind.COOKIE:
            self.cookies.append(value)
        elif kind is _Kind.HOST:
            if self.host is not None:
                raise BadMessage(Cause.TWO_HOSTS)
            self.host = value
        elif kind is _Kind.CONTENT_LENGTH:
            self.has_length = True
            self.lines.append(b"content-length: " + value)
        elif kind is _Kind.TE:
            self.lines += (b"connection: te", _te(value))
        elif kind is _Kind.CONNECTION:
            raise BadMessage(Cause.BAD_CONNECTION_OPTION)
        elif b":protocol" not in self.pseudo:
            self.lines.append(b"sec-websocket-key: " + value)  # with :protocol the key is ours (RFC 8441 §5)


def read_request(fields: Iterable[tuple[bytes, bytes]], make_key: Callable[[], bytes], *, is_end: bool) -> Http2Request:
    """Translate a request's fields; raises BadMessage. `is_end`: no body will follow."""
    parts = _Parts()
    parts.read(fields)
    method, target, key = _start(parts.pseudo, make_key)
    lines = [b"%b %b HTTP/1.1" % (method, target), b"host: " + _authority(parts), *parts.lines]
    if parts.cookies:
        lines.append(b"cookie: " + b"; ".join(parts.cookies))  # RFC 9113 §8.2.3
    if key:
        lines += (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: " + key)
    elif not (is_end or parts.has_length):
        lines.append(b"transfer-encoding: chunked")
    text = b"\r\n".join(lines)
    if text.count(b"\n") != len(lines) - 1:
        raise BadMessage(Cause.BARE_LF)  # a line end inside a name or value would have become another line
    head = parse_request(text)
    if head.length > 0 and (is_end or key):
        # The head announces a body, but the stream has ended or its bytes are a tunnel's.
        raise BadMessage(Cause.BAD_LENGTH)
    return Http2Request(head, key)


_EDGES = (b" ", b"\t")


def _te(value: bytes) -> bytes:
    if value.lower() != b"trailers":
        raise BadMessage(Cause.BAD_TRANSFER_CODING)  # RFC 9113 §8.2.2
    return b"te: trailers"


def _start(pseudo: dict[bytes, bytes], make_key: Callable[[], bytes]) -> tuple[bytes, bytes, bytes]:
    """Return method and target as in HTTP/1.1, and a key for a requested WebSocket (RFC 9113 §8.3.1, §8.5)."""
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path")
    protocol = pseudo.get(b":protocol")
    if method == b"CONNECT" and protocol is None:
        if path is not None or b":scheme" in pseudo:
            raise BadMessage(Cause.BAD_REQUEST_LINE)
        return method, pseudo.get(b":authority", b""), b""
    if not method or not path or pseudo.get(b":scheme") not in (b"https", b"http"):
        raise BadMessage(Cause.BAD_REQUEST_LINE)
    if path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
        raise BadMessage(Cause.BAD_TARGET)
    if protocol is None:
        return method, path, b""
    if method != b"CONNECT" or b":authority" not in pseudo:
        raise BadMessage(Cause.BAD_METHOD)
    if protocol != _WEBSOCKET:
        raise BadMessage(Cause.BAD_METHOD, 501)  # RFC 9220 §3
    return b"GET", path, make_key()


def _authority(parts: _Parts) -> bytes:
    """RFC 9113 §8.3.1: a Host beside :authority must equal it."""
    authority, host = parts.pseudo.get(b":authority"), parts.host
    if authority is None:
        if host is None:
            raise BadMessage(Cause.NO_HOST)
        return host
    if host is not None and host.lower() != authority.lower():
        raise BadMessage(Cause.HOST_CONFLICT)
    return authority


def response_block(head: ResponseHead, own_fields: tuple[Field, ...], *, is_tunnel: bool = False) -> bytes:
    """Encode the header block of a response."""
    parts = [encode_status(200 if is_tunnel else head.status)]
    lines = iter(head.lines)
    next(lines)
    for line in lines:
        name, _, value = line.partition(b":")
        if is_tunnel and name.lower() in _TUNNEL_DROPS:
            continue
        parts.append(encode_field(name, value.strip(_BLANKS)))
    if own_fields:
        parts += [encode_field(field.name, field.value) for field in own_fields]
    return b"".join(parts)


def answer_block(answer: Answer, own_fields: tuple[Field, ...]) -> bytes:
    """Encode the header block of one of the edge's own answers."""
    parts = [encode_status(answer.status), *map(encode_line, answer.fields)]
    parts.append(encode_field(b"content-length", b"%d" % len(answer.body)))
    if own_fields:
        parts += [encode_field(field.name, field.value) for field in own_fields]
    return b"".join(parts)


_TUNNEL_DROPS = (b"sec-websocket-accept", b"content-length")


def trailer_block(trailers: Iterable[bytes]) -> bytes:
    """Encode trailer lines, which the upstream's reader has checked."""
    return b"".join([encode_line(line) for line in trailers])


def encode_line(line: bytes) -> bytes:
    """Encode a header line."""
    name, _, value = line.partition(b":")
    return encode_field(name, value.strip(_BLANKS))


def read_trailer_fields(fields: Fields) -> list[bytes]:
    """Return a request's trailer fields as lines that may be passed on; raises BadMessage."""
    lines = []
    for name, value in fields:
        kind = _names[name]
        if kind is _Kind.PSEUDO or kind is _Kind.CONNECTION or value[:1] in _EDGES or value[-1:] in _EDGES:
            raise BadMessage(Cause.BAD_TRAILER)
        lines.append(b"%b: %b" % (name, value))
    section = b"\r\n".join(lines)
    if section.count(b"\n") != max(len(lines) - 1, 0):
        raise BadMessage(Cause.BARE_LF)
    return read_trailers(section) if lines else []
