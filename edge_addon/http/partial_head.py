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


class PartialHead:
    """A head that comes in pieces. Each byte is looked at once, however many pieces there are."""

    __slots__ = ("_data", "_has_line", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._data = bytearray()
        self._max_bytes = max_bytes
        self._has_line = False

    def feed(self, data: bytes) -> bytes | None:
        """Return all that has come once the head is complete. Raises BadMessage if nothing could make it a good one."""
        known = len(self._data)
        self._data += data
        end = self._data.find(b"\r\n\r\n", max(known - 3, 0))
        if 0 < end <= self._max_bytes:
            return bytes(self._data)
        if len(self._data) > self._max_bytes:
            raise BadMessage(Cause.HEAD_TOO_LARGE, 431)
        if known < len(_RESPONSE):
            self._check_start(self._data)
        # The last CR may be half of a line end whose LF comes now.
        start = known - self._data.endswith(b"\r", 0, known)
        if self._data.count(b"\n", start) != self._data.count(b"\r\n", start):
            raise BadMessage(Cause.BARE_LF)
        if not self._has_line and (line_end := self._data.find(b"\r\n", start)) >= 0:
            self._has_line = True
            self._check_line(bytes(self._data[:line_end]))
        return None

    def _check_start(self, data: bytes | bytearray) -> None:
        """Raise BadMessage if no head starts like this."""
        if data[0] == _TLS_HANDSHAKE:
            raise BadMessage(Cause.TLS_IN_CLEAR)
        if data[0] not in TOKEN:
            raise BadMessage(Cause.BARE_LF if data[0] == 0x0A else Cause.LEADING_JUNK)

    def _check_line(self, line: bytes) -> None:
        """Raise BadMessage for a bad first line."""
        check_request_line(line)


class PartialResponse(PartialHead):
    """The head of a response that comes in pieces."""

    __slots__ = ()

    def _check_start(self, data: bytes | bytearray) -> None:
        if not data.startswith(_RESPONSE[: len(data)]):
            raise BadMessage(Cause.BAD_STATUS_LINE)

    def _check_line(self, line: bytes) -> None:
        """A status line is read with its head."""
