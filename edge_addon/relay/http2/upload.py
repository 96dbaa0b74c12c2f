"""The body of one HTTP/2 request under flow control: what the upstream has not taken yet, and the stream's window.

What is taken is acknowledged, and the client sends as much again. A body whose upstream is full waits, and borrows from
the connection's window so that the other streams can go on. Knows nothing of the request but its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from edge_addon.http.body_rate import BodyRate
from edge_addon.http.framing import CHUNKED
from edge_addon.relay.http2.windows import LARGEST_STREAM_WINDOW, STREAM_WINDOW, UNKNOWN, Pace, Verdict, Window

BORROWED_AT_A_TIME: Final = 16 * 1024


class Credit(Protocol):
    """What an upload asks of its connection. Sizes in bytes; the client learns of a larger window when it is time."""

    def window(self, stream_id: int) -> Window:
        """The window of a stream whose body has not ended."""

    def acknowledge(self, stream_id: int, size: int, borrowed: int = 0) -> None:
        """So much has been taken; `borrowed` of it was paid to the connection's window before."""

    def lend(self, size: int) -> bool:
        """Let the connection's window grow, if the bounds allow it."""

    def relieve(self, size: int) -> bool:
        """The same, only if other streams need it."""

    def give_back(self, size: int) -> None:
        """Let the connection's window shrink."""


class Upload:
    """From the head to the end of the body; a request without a body has none."""

    __slots__ = (
        "_borrowed", "_credit", "_held", "_is_complete", "_lent", "_now", "_pace", "_stream_id", "_taken", "_window",
        "is_paused", "rate",
    )  # fmt: skip

    def __init__(self, credit: Credit, now: Callable[[], float], stream_id: int, length: int) -> None:
        """`now`: the time in seconds."""
        self._credit = credit
        self._now = now
        self._stream_id = stream_id
        self._window = window = credit.window(stream_id)
        window.rest = UNKNOWN if length == CHUNKED else length
        self._pace = Pace(now())
        self._held = self._taken = 0
        self._borrowed = 0
        """What the connection's window has got for bytes that are held here."""
        self._lent = 0
        """What it has got for the growth of the stream's window."""
        self._is_complete = False
        self.is_paused = False
        self.rate = BodyRate()

    def received(self, size: int, flow_size: int) -> bool:
        """Hold bytes; with `flow_size` padding counts too. False: they are more than the Content-Length."""
        self._held += flow_size
        if self.is_paused:
            self.borrow()
            self._credit.acknowledge(self._stream_id, 0)  # what was taken before may be due now
        if self._window.rest != UNKNOWN:
            self._window.rest -= size
        return self._window.rest >= 0

    @property
    def is_short(self) -> bool:
        """Some of the Content-Length has not come."""
        return 0 < self._window.rest < UNKNOWN

    def taken(self) -> None:
        """Acknowledge what the upstream has taken, unless it is full: then that waits for `resume`."""
        if self.is_paused or not self._held:
            return
        if self._lent:
            self._give_back_growth(needed=0 if self._is_complete else self._window.rest - STREAM_WINDOW)
        size, self._held = self._held, 0
        borrowed, self._borrowed = self._borrowed, 0
        self._credit.acknowledge(self._stream_id, size, borrowed)
        self._taken += size
        if self._taken >= self._window.max_window_size and not self._is_complete:
            self._next_window()

    def complete(self) -> None:
        """Nothing more will come."""
        self._is_complete = True
        if not self._held:
            self._give_back_growth()

    def pause(self) -> None:
        """Wait: the upstream does not keep up."""
        if not self.is_paused:
            self.is_paused = True
            self._pace.pause(self._now())

    def resume(self) -> None:
        """Acknowledge what has waited."""
        if self.is_paused:
            self.is_paused = False
            self._pace.resume(self._now())
        self.taken()

    def borrow(self) -> None:
        """While the upstream is full, don't take the connection's window from the other streams."""
        size = min(self._held, STREAM_WINDOW) - self._borrowed
        if self.is_paused and size >= BORROWED_AT_A_TIME and self._credit.relieve(size):
            self._borrowed += size

    def close(self) -> None:
        """The stream is over: give back everything."""
        self.is_paused = False
        self._is_complete = True
        self.taken()
        self._give_back_growth()

    def _next_window(self) -> None:
        self._taken = 0
        window = self._window
        size = window.max_window_size
        match self._pace.next_window(self._now()):
            case Verdict.GROW if size < LARGEST_STREAM_WINDOW and window.rest > window.current_window_size:
                if self._credit.lend(size):
                    self._lent += size
                    window.grow(size)
                    self._credit.acknowledge(self._stream_id, 0)
            case Verdict.SHRINK if self._lent:
                window.shrink(size // 2)
                self._give_back_growth(needed=self._lent - size // 2)

    def _give_back_growth(self, needed: int = 0) -> None:
        """Keep only what the rest of the body needs."""
        size = self._lent - max(needed, 0)
        if size > 0:
            self._lent -= size
            self._credit.give_back(size)
