"""Splits a byte stream into commands and replies, however it arrives in pieces.

Splits at line ends and keeps a literal (`{12}`, RFC 9051 §4.3; `{12+}`, RFC 7888 and RFC 5804 §4) with the line that
announces it, so that octets in a literal are never taken for a command. Knows no command of any protocol.
"""

from __future__ import annotations

import re
from enum import Enum, StrEnum
from typing import NamedTuple

_ANNOUNCED_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n\Z")
_LONGEST_ANNOUNCEMENT = 32


class Literals(Enum):
    """How a stream carries literals, if at all."""

    NONE = 0
    AT_ONCE = 1
    """The octets follow the announcing line at once: IMAP servers, ManageSieve servers and clients."""
    ON_REQUEST = 2
    """IMAP clients wait for the server's `+` after `{12}`, but not after `{12+}`."""


class Fault(StrEnum):
    """Why a stream can't be split any further. The fault is permanent."""

    TOO_LONG = "line_too_long"
    BARE_NEWLINE = "bare_newline"


class Unit(NamedTuple):
    """One line as received, with its line end and its literals."""

    data: bytes
    waits: bool = False
    """It ends with the announcement of a literal that the client sends only on request."""


class Framer:
    """Turns the bytes it is fed into units of at most `limit` bytes.

    If `is_strict`, a line ends with CR LF and contains no other CR or LF (SMTP, where servers that disagree on line
    ends can be made to see different mails). Otherwise LF alone ends a line too.
    """

    def __init__(self, limit: int, literals: Literals = Literals.NONE, *, is_strict: bool = False) -> None:
        self._limit = limit
        self.literals = literals
        """May change between two units."""
        self._is_strict = is_strict
        self._buffer = bytearray()
        self._scanned = 0
        """The search for a line end starts here: everything before it was searched already or is in a literal."""
        self._line_start = 0
        """Where the current line starts, after any literals: their octets announce nothing."""
        self._fault: Fault | None = None

    @property
    def held(self) -> int:
        """How many bytes were fed and not yet taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_unit(self) -> Unit | Fault | None:
        """The next unit, or None until it is complete."""
        while self._fault is None:
            end = self._buffer.find(b"\n", self._scanned) + 1
            if not end:
                if len(self._buffer) >= self._limit:
                    self._fault = Fault.TOO_LONG
                    break
                self._scanned = max(self._scanned, len(self._buffer))
                return None
            if end > self._limit:
                self._fault = Fault.TOO_LONG
            elif self._is_strict and not (self._buffer.find(b"\r", 0, end) == end - 2 >= 0):
                self._fault = Fault.BARE_NEWLINE
            elif (literal := self._announced_literal(end)) is None:
                return Unit(self._cut(end))
            else:
                size, waits = literal
                if end + size >= self._limit:
                    self._fault = Fault.TOO_LONG
                elif waits:
                    unit = Unit(self._cut(end), waits=True)
                    self._scanned = self._line_start = size
                    return unit
                else:
                    self._scanned = self._line_start = end + size
        return self._fault

    def forget_literal(self) -> None:
        """The announced literal was refused, so the client does not send it: its next bytes start a new line."""
        self._scanned = self._line_start = 0

    def take(self, most: int | None = None) -> bytes:
        """Take up to `most` raw bytes: for content that is not made of lines, or once splitting is over."""
        data = bytes(self._buffer if most is None else self._buffer[:most])
        del self._buffer[: len(data)]
        self._scanned = self._line_start = 0
        return data

    def _announced_literal(self, end: int) -> tuple[int, bool] | None:
        if self.literals is Literals.NONE:
            return None
        found = _ANNOUNCED_LITERAL.search(self._buffer[max(self._line_start, end - _LONGEST_ANNOUNCEMENT) : end])
        if found is None:
            return None
        return int(found[1]), self.literals is Literals.ON_REQUEST and not found[2]

    def _cut(self, end: int) -> bytes:
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._scanned = self._line_start = 0
        return data
