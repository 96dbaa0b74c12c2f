"""Checks of a message before its head is complete: junk is refused at once, not when a deadline passes. Pure."""

from __future__ import annotations

from edge_addon.http.fields import TOKEN
from edge_addon.http.framing import check_request_line
from edge_addon.http.limits import MAX_LEADING_EMPTY_LINES
from edge_addon.http.refusal import BadMessage, Cause

_TLS_HANDSHAKE = 0x16
_RESPONSE = b"HTTP/1."


def skip_empty_lines(data: bytes, skipped: int) -> tuple[bytes, int]:
    """Drop the empty lines before a request line; return the rest and how many there were. Raises BadMessage."""
    while data.startswith(b"\r\n"):
        skipped += 1
        if skipped > MAX_LEADING_EMPTY_LINES:
            raise BadMessage(Cause.LEADING_JUNK)
        data = data[2:]
    return data, skipped


def check_partial_head(data: bytes, max_bytes: int) -> None:
    """Raise BadMessage if no continuation could make this a good head."""
    if len(data) > max_bytes:
        raise BadMessage(Cause.HEAD_TOO_LARGE, 431)
    if data[0] == _TLS_HANDSHAKE:
        raise BadMessage(Cause.TLS_IN_CLEAR)
    if data[0] not in TOKEN and data != b"\r":
        raise BadMessage(Cause.BARE_LF if data[0] == 0x0A else Cause.LEADING_JUNK)
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadMessage(Cause.BARE_LF)
    line, ended, _ = data.partition(b"\r\n")
    if ended:
        check_request_line(line)


def check_partial_response(data: bytes, max_bytes: int) -> None:
    """Raise BadMessage if no continuation could make this a response's head."""
    if len(data) > max_bytes:
        raise BadMessage(Cause.HEAD_TOO_LARGE)
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadMessage(Cause.BARE_LF)
    if not data.startswith(_RESPONSE[: len(data)]):
        raise BadMessage(Cause.BAD_STATUS_LINE)
