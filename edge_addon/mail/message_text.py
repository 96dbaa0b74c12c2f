"""Finds the end of a mail's text after DATA, and refuses text whose end two servers could see in different places.

The end is CR LF . CR LF and nothing else (RFC 5321 §4.1.1.4). A mail server that also accepts LF . LF or CR . CR would
read the text after it as commands: SMTP smuggling. A bare CR or LF, which RFC 5321 §2.3.8 forbids anyway, therefore
ends the session before the upstream sees it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

_END = b"\r\n.\r\n"


class Verdict(Enum):
    MORE = 0
    END = 1
    BARE_NEWLINE = 2


class Found(NamedTuple):
    """The first `length` bytes fed belong to the text, including its end."""

    verdict: Verdict
    length: int


class MessageText:
    """The text of one mail, fed piece by piece up to its end."""

    def __init__(self) -> None:
        self._tail = b"\r\n"
        """The last bytes seen, in case the end of the text began in them. At first the line end of DATA."""

    def feed(self, data: bytes) -> Found:
        window = self._tail + data
        end = window.find(_END)
        text = window if end < 0 else window[: end + len(_END)]
        if not self._has_whole_line_ends(text):
            return Found(Verdict.BARE_NEWLINE, 0)
        length = len(text) - len(self._tail)
        if end >= 0:
            return Found(Verdict.END, length)
        self._tail = text[1 - len(_END) :]
        return Found(Verdict.MORE, length)

    def _has_whole_line_ends(self, text: bytes) -> bool:
        """Counting three times is an order of magnitude faster than any pattern.

        A CR at the very end is checked together with the next bytes. The tail was checked before, except for such a CR.
        """
        start = len(self._tail) - self._tail.endswith(b"\r")
        stop = len(text) - text.endswith(b"\r")
        pairs = text.count(b"\r\n", start, stop)
        return text.count(b"\r", start, stop) == pairs == text.count(b"\n", start, stop)
