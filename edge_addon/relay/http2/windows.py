"""What a client may send of its requests' bodies: the receive windows of a connection and its streams (RFC 9113 §5.2).

Pure. A stream's window doubles while its upstream takes the body as fast as it comes: with a fixed one of 256 KB, an
upload over a round trip of 60 ms would reach 4 MB/s. Every byte beyond the windows that each connection has is lent by
the address of its client and by the worker, and whatever is announced counts until the client has used it up. So what
hostile clients and slow upstreams can make a worker hold is bounded, however many streams they open.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from h2.windows import WindowManager

from edge_addon.upstream.bounds import Share

STREAM_WINDOW: Final = 256 * 1024
"""Bytes of a body that may be on their way at first. What a stream's window has above them is lent."""
LARGEST_STREAM_WINDOW: Final = 4 * 1024 * 1024
"""28 MB/s at a round trip of 150 ms."""
CONNECTION_WINDOW: Final = STREAM_WINDOW
"""What every connection may send without a loan."""
LENT_PER_CONNECTION: Final = 8 * 1024 * 1024
"""Two large uploads at full speed, or 32 that stand still, before they hold up others of their connection."""
PER_CONNECTION: Final = "upload_memory_per_connection_exceeded"

GROW_SECONDS: Final = 0.5
"""A window that takes longer to arrive is large enough: no round trip is that long."""
SHRINK_SECONDS: Final = 2.0
LEAST_UPDATE: Final = 1024
"""Bytes below which nothing is announced, however small the rest of the window is."""
PADDING: Final = 256
"""With so much more than the rest of the body, even a client that pads every frame can send another byte."""
UNKNOWN: Final = 1 << 62
"""The rest of a body without a Content-Length."""


class Verdict(Enum):
    """What becomes of a window once so many bytes have been taken as it holds."""

    GROW = auto()
    KEEP = auto()
    SHRINK = auto()


def decide(elapsed: float, paused: float) -> Verdict:
    """`elapsed`: the seconds in which a whole window was taken; `paused`: those of them in which the upstream was full.

    A larger window would not make a slow upstream faster, only fill memory, and a slow client has no use for one.
    """
    if elapsed <= GROW_SECONDS:
        return Verdict.GROW if paused * 4 <= elapsed else Verdict.KEEP
    return Verdict.SHRINK if elapsed >= SHRINK_SECONDS else Verdict.KEEP


class Pace:
    """How fast one body is taken, window by window. Times in seconds."""

    __slots__ = ("_paused", "_paused_at", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._paused = 0.0
        self._paused_at: float | None = None

    def pause(self, now: float) -> None:
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        if self._paused_at is not None:
            self._paused += now - self._paused_at
            self._paused_at = None

    def next_window(self, now: float) -> Verdict:
        """A whole window has been taken; the next one begins."""
        verdict = decide(now - self._since, self._paused)
        self._since, self._paused = now, 0.0
        return verdict


class Window(WindowManager):
    """h2's window, which can also change its size.

    `max_window_size` is what the client may have on its way. `current_window_size` of it may still be sent, and
    `_bytes_processed` have been taken but not been announced yet; the others wait for their upstream.
    """

    surplus: int = 0
    """What the client may send beyond the size, since it shrank: taken bytes are not announced until that is gone."""
    rest: int = UNKNOWN
    """How much is still to come. What needs no further announcement gets none."""

    def process_bytes(self, size: int) -> int:
        """Note that bytes were taken; returns how many to announce, often 0."""
        if self.surplus:
            size = self._absorb(size)
        self._bytes_processed += size
        return self.due()

    def due(self) -> int:
        """What is to be announced now: at least as much as the client may still send, but no more than it needs."""
        owed, credit = self._bytes_processed, self.current_window_size
        needed = self.rest + PADDING - credit
        if owed < credit or owed < LEAST_UPDATE or needed <= 0:
            return 0
        due = min(owed, needed)
        self._bytes_processed = owed - due
        self.current_window_size = credit + due
        return due

    def grow(self, size: int) -> None:
        reused = min(self.surplus, size)
        self.surplus -= reused
        self.max_window_size += size
        self._bytes_processed += size - reused

    def shrink(self, size: int) -> None:
        """Announce so much less. What has been announced can't be taken back (RFC 9113 §6.9.2), only not renewed."""
        self.max_window_size -= size
        at_once = min(self._bytes_processed, size)
        self._bytes_processed -= at_once
        self.surplus += size - at_once

    def _absorb(self, size: int) -> int:
        absorbed = min(self.surplus, size)
        self.surplus -= absorbed
        return size - absorbed


class ConnectionWindow(Window):
    """The window of a connection, with what it has borrowed from its client's address and the worker."""

    def __init__(self, shares: Sequence[Share]) -> None:
        super().__init__(CONNECTION_WINDOW)
        self._shares = shares

    @property
    def borrowed(self) -> int:
        """Bytes that the client may send, or has sent, beyond the window that every connection has."""
        return self.max_window_size + self.surplus - CONNECTION_WINDOW

    @property
    def is_low(self) -> bool:
        """Less than half of the usual window is left, because streams stand still."""
        return self.current_window_size + self._bytes_processed < CONNECTION_WINDOW // 2

    def borrow(self, size: int) -> str:
        """Grow; if a bound does not allow that, return its name and change nothing."""
        fresh = size - min(self.surplus, size)
        if self.borrowed + fresh > LENT_PER_CONNECTION:
            return PER_CONNECTION
        for share in self._shares:
            if share.lent + fresh > share.most:
                return share.cause
        for share in self._shares:
            share.lent += fresh
        self.grow(size)
        return ""

    def shrink(self, size: int) -> None:
        before = self.borrowed
        super().shrink(size)
        self._pay_back(before - self.borrowed)

    def close(self) -> None:
        """The client can send nothing more."""
        self._pay_back(self.borrowed)
        self._shares = ()

    def _absorb(self, size: int) -> int:
        rest = super()._absorb(size)
        self._pay_back(size - rest)
        return rest

    def _pay_back(self, size: int) -> None:
        for share in self._shares:
            share.lent -= size
