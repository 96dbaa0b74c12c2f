"""The bytes of one stream that wait for the client's windows. The connection learns how many they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MAX_QUEUED: Final = 2 * 1024 * 1024
"""Bytes of responses that may wait for one client's windows; above, no stream is read from its upstream."""


class SendQueue:
    """What is still to be sent, in order."""

    __slots__ = ("_changed", "_reported", "data")

    def __init__(self, changed: Callable[[int], None]) -> None:
        """`changed` gets the difference to the size that it knows, in bytes."""
        self._changed = changed
        self._reported = 0
        # A view once a part has gone: to cut it off each time would copy all of it for each byte that the window opens.
        self.data: bytes | memoryview = b""

    def add(self, data: bytes) -> None:
        self.data = b"".join((self.data, data)) if self.data else data

    def cut(self, sent: int) -> None:
        """Drop what has been sent."""
        if sent == len(self.data):
            self.data = b""
        elif sent:
            self.data = memoryview(self.data)[sent:]

    def report(self) -> None:
        """Tell the connection; not for each step, as most of what comes goes out at once."""
        difference = len(self.data) - self._reported
        if difference:
            self._reported += difference
            self._changed(difference)

    def drop(self) -> None:
        """Nothing more is sent."""
        self.data = b""
        self.report()
