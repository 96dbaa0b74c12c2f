"""Heads of HTTP/1 messages: what they may look like, and how long the body after them is (RFC 9112).

Pure and strict: a message that two servers could read in two ways is refused, so what is passed on has one meaning. A
head comes without its last CRLF CRLF; header lines that go on unchanged keep their bytes.

httptools is not used here: it can't stop at the end of a message (so it would parse bytes of a pipelined request before
they are checked), it refuses methods that it does not know (Outlook's RPC_IN_DATA), and every check below would still
be needed. The tests compare this reader with httptools and h11 instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_addon.http.connection_login import carries_login, is_persistent, offers_login
from edge_addon.http.fields import TOKEN, FieldTable, Treatment, request_fields, response_fields
from edge_addon.http.limits import MAX_FIELDS, MAX_LENGTH_DIGITS, MAX_METHOD
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.http.target import check_authority, split_absolute

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
"""Body lengths besides a number of bytes; the second only in responses."""

_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""RFC 9110 §5.5: the bytes of a line; everything else but the CRLFs is a control character."""
_TARGET = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_MINOR = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_METHODS = frozenset((b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND", b"REPORT"))
_PROTECTED = frozenset((b"host", b"content-length", b"expect", b"content-type"))
"""Fields that a Connection header may not take out of a message, because the message would change its meaning."""
BODILESS = frozenset((204, 304))


@dataclass(slots=True)
class RequestHead:
    """One request. `lines` are the request line and the fields to pass on, with Host and Content-Length."""

    method: bytes
    target: bytes
    """In origin form, or `*`."""
    minor: int
    lines: list[bytes]
    host: bytes | None = None
    """As sent, including the port; None only in HTTP/1.0."""
    length: int = 0
    has_length: bool = False
    keep_alive: bool = False
    options: list[bytes] | None = None
    """The entries of its Connection headers, in lower case."""
    expects_continue: bool = False
    accepts_trailers: bool = False
    upgrade: bytes | None = None
    is_upgrade: bool = False
    """It asks for a WebSocket."""
    forwarded: tuple[tuple[bytes, bytes], ...] = ()
    """What the client claims about where the request came from: names in lower case, and values."""
    is_login: bool = False
    """It carries credentials of a login that belongs to its connection."""
    site: str = ""
    """The site that its host belongs to; set by the admission."""


@dataclass(slots=True)
class ResponseHead:
    """One response. `lines` are the status line and the fields to pass on, with Content-Length."""

    status: int
    minor: int
    lines: list[bytes]
    length: int = 0
    has_length: bool = False
    keep_alive: bool = False
    options: list[bytes] | None = None
    upgrade: bytes | None = None
    is_login: bool = False
    """It offers a login that belongs to the connection, or is part of one."""


def split_lines(head: bytes) -> list[bytes]:
    """Split a head into lines. Every CR and LF must be half of a CRLF, and HTAB is the only other control character."""
    lines = head.split(b"\r\n")
    if len(head.translate(None, _TEXT)) != 2 * (len(lines) - 1):
        rest = head.replace(b"\r\n", b"")
        raise BadMessage(
            Cause.BARE_LF if b"\n" in rest else Cause.BARE_CR if b"\r" in rest else Cause.CONTROL_CHARACTER
        )
    if len(lines) > MAX_FIELDS:
        raise BadMessage(Cause.TOO_MANY_FIELDS, 431)
    return lines


def parse_request(text: bytes) -> RequestHead:
    """Read a request's head; raises BadMessage."""
    lines = iter(split_lines(text))
    head = _request_line(next(lines))
    kept, fields = head.lines, request_fields
    for line in lines:
        name, colon, value = line.partition(b":")
        treatment = fields[name]
        if not colon:
            raise BadMessage(Cause.NO_COLON)
        if treatment:
            _ON_REQUEST_FIELD[treatment](head, name, value.strip(b" \t"))
        else:
            kept.append(line)
    _settle_request(head)
    return head


def check_request_line(line: bytes) -> None:
    """Raise BadMessage for a bad request line, before the lines after it have arrived."""
    _request_line(line)


def _request_line(line: bytes) -> RequestHead:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadMessage(Cause.BAD_REQUEST_LINE)
    method, target, version = parts
    minor = _MINOR.get(version)
    if minor is None:
        raise BadMessage(Cause.BAD_VERSION)
    if method not in _METHODS and (not method or len(method) > MAX_METHOD or method.translate(None, TOKEN)):
        raise BadMessage(Cause.BAD_METHOD)
    if not target or target.translate(None, _TARGET):
        raise BadMessage(Cause.BAD_TARGET)
    if minor and target[0] == 0x2F:
        return RequestHead(method, target, minor, [line])
    return RequestHead(method, target, minor, [b"%b %b HTTP/1.1" % (method, target)])


def _settle_request(head: RequestHead) -> None:
    """Draw the conclusions that need the whole head."""
    if head.target[0] != 0x2F:
        _settle_target(head)
    if head.host is None and head.minor:
        raise BadMessage(Cause.NO_HOST)
    if head.length == CHUNKED and not head.minor:
        raise BadMessage(Cause.CHUNKED_IN_1_0)
    options = head.options
    if options is None:
        head.keep_alive = head.minor == 1
        return
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    head.lines = _without_listed(head.lines, options)
    if b"te" not in options:
        head.accepts_trailers = False  # RFC 9110 §10.1.4: a sender of TE must list it in Connection
    # Only WebSocket: `h2c` would take a whole connection past every rule here, and nothing else is in use.
    head.is_upgrade = (
        b"upgrade" in options
        and head.upgrade is not None
        and head.upgrade.lower() == b"websocket"
        and head.minor == 1
        and head.method == b"GET"
        and head.length == 0
    )


def _settle_target(head: RequestHead) -> None:
    """Treat the asterisk form of OPTIONS, the absolute form, and CONNECT's authority (refused later as a method)."""
    if head.method == b"CONNECT":
        return
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    authority, target = split_absolute(head.target, is_options=head.method == b"OPTIONS")
    check_authority(authority, head.host)
    head.target = target
    head.lines[0] = b"%b %b HTTP/1.1" % (head.method, target)


def _without_listed(lines: list[bytes], options: list[bytes]) -> list[bytes]:
    """Drop the fields that Connection lists (RFC 9110 §7.6.1)."""
    listed = {option for option in options if option not in _PLAIN_OPTIONS}
    if not listed:
        return lines
    if not _PROTECTED.isdisjoint(listed):
        raise BadMessage(Cause.BAD_CONNECTION_OPTION)
    return [lines[0], *(line for line in lines[1:] if line.partition(b":")[0].lower() not in listed)]


_PLAIN_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"transfer-encoding"))


def parse_response(text: bytes, *, is_head_request: bool, fields: FieldTable = response_fields) -> ResponseHead:
    """Read a response's head; raises BadMessage. `fields` decides what happens to each header field."""
    lines = iter(split_lines(text))
    head = _status_line(next(lines))
    kept = head.lines
    for line in lines:
        name, colon, value = line.partition(b":")
        treatment = fields[name]
        if not colon:
            raise BadMessage(Cause.NO_COLON)
        if not treatment:
            kept.append(line)
        elif treatment is not Treatment.TRIM or (treatment := fields[name := name.rstrip(b" \t")]):
            _ON_RESPONSE_FIELD[treatment](head, name, value.strip(b" \t"))
        else:
            kept.append(name + b":" + value)
    _settle_response(head, is_head_request=is_head_request)
    return head


def _status_line(line: bytes) -> ResponseHead:
    minor = _MINOR.get(line[:8])
    code = line[9:12]
    if minor is None or line[8:9] != b" " or not code.isdigit() or line[12:13] not in (b"", b" "):
        raise BadMessage(Cause.BAD_STATUS_LINE)
    status = int(code)
    if len(code) != 3 or not 100 <= status <= 599:
        raise BadMessage(Cause.BAD_STATUS_LINE)
    return ResponseHead(status, minor, [line if minor else b"HTTP/1.1" + line[8:]])


def _settle_response(head: ResponseHead, *, is_head_request: bool) -> None:
    options = head.options
    if options is None:
        head.keep_alive = head.minor == 1
    else:
        head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
        head.lines = _without_listed(head.lines, options)
    if head.length == CHUNKED and not head.minor:
        raise BadMessage(Cause.CHUNKED_IN_1_0)
    status = head.status
    if is_head_request or status in BODILESS or status < 200:
        head.length = 0
        _drop_length(head)
    elif not head.has_length and head.length != CHUNKED:
        head.length = UNTIL_CLOSE


def _drop_length(head: ResponseHead) -> None:
    """RFC 9110 §8.6: 1xx and 204 have no length; a client could wait for that many bytes."""
    if head.has_length and (head.status < 200 or head.status == 204):
        head.lines = [line for line in head.lines if not line.startswith(b"Content-Length: ")]


def _on_host(head: RequestHead, _name: bytes, value: bytes) -> None:
    if head.host is not None:
        raise BadMessage(Cause.TWO_HOSTS)
    if not value:
        raise BadMessage(Cause.BAD_HOST)
    head.host = value
    head.lines.append(b"Host: " + value)


def _on_length(head: RequestHead | ResponseHead, _name: bytes, value: bytes) -> None:
    if head.has_length:
        raise BadMessage(Cause.TWO_LENGTHS)
    if head.length == CHUNKED:
        raise BadMessage(Cause.LENGTH_AND_CHUNKED)
    if not value.isdigit():
        raise BadMessage(Cause.TWO_LENGTHS if b"," in value else Cause.BAD_LENGTH)
    if len(value) > MAX_LENGTH_DIGITS:
        raise BadMessage(Cause.BAD_LENGTH)
    head.has_length = True
    head.length = int(value)
    head.lines.append(b"Content-Length: " + value)


def _on_transfer_encoding(head: RequestHead | ResponseHead, _name: bytes, value: bytes) -> None:
    if head.has_length:
        raise BadMessage(Cause.LENGTH_AND_CHUNKED)
    if head.length == CHUNKED or value.lower() != b"chunked":
        raise BadMessage(Cause.BAD_TRANSFER_CODING)
    head.length = CHUNKED


def _on_connection(head: RequestHead | ResponseHead, _name: bytes, value: bytes) -> None:
    options = [option.strip(b" \t") for option in value.lower().split(b",")]
    head.options = options if head.options is None else head.options + options


def _on_upgrade(head: RequestHead | ResponseHead, _name: bytes, value: bytes) -> None:
    # A second Upgrade header makes a list of two protocols: neither is passed on.
    head.upgrade = value if head.upgrade is None else b""


def _on_te(head: RequestHead, _name: bytes, value: bytes) -> None:
    codings = [coding.strip(b" \t") for coding in value.lower().split(b",")]
    head.accepts_trailers = head.accepts_trailers or b"trailers" in codings


def _on_expect(head: RequestHead, _name: bytes, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadMessage(Cause.BAD_EXPECTATION, 417)
    head.expects_continue = True


def _on_forwarded(head: RequestHead, name: bytes, value: bytes) -> None:
    head.forwarded += ((name.lower(), value),)


def _on_credentials(head: RequestHead | ResponseHead, name: bytes, value: bytes) -> None:
    head.is_login = head.is_login or carries_login(value)
    head.lines.append(b"%b: %b" % (name, value))


def _on_challenge(head: RequestHead | ResponseHead, name: bytes, value: bytes) -> None:
    head.is_login = head.is_login or offers_login(value)
    head.lines.append(b"%b: %b" % (name, value))


def _on_persistent_auth(head: RequestHead | ResponseHead, name: bytes, value: bytes) -> None:
    head.is_login = head.is_login or is_persistent(value)
    head.lines.append(b"%b: %b" % (name, value))


def _drop(_head: RequestHead | ResponseHead, _name: bytes, _value: bytes) -> None:
    pass


_ON_RESPONSE_FIELD: dict[Treatment, Callable[[RequestHead | ResponseHead, bytes, bytes], None]] = {
    Treatment.DROP: _drop,
    Treatment.CONNECTION: _on_connection,
    Treatment.CONTENT_LENGTH: _on_length,
    Treatment.TRANSFER_ENCODING: _on_transfer_encoding,
    Treatment.UPGRADE: _on_upgrade,
    Treatment.CHALLENGE: _on_challenge,
    Treatment.PERSISTENT_AUTH: _on_persistent_auth,
}

_ON_REQUEST_FIELD: dict[Treatment, Callable[[RequestHead, bytes, bytes], None]] = {
    **_ON_RESPONSE_FIELD,
    Treatment.HOST: _on_host,
    Treatment.TE: _on_te,
    Treatment.EXPECT: _on_expect,
    Treatment.FORWARDED: _on_forwarded,
    Treatment.CREDENTIALS: _on_credentials,
}
