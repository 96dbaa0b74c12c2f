"""How many frames a client may send over HTTP/2 that cost the edge work and move no data.

Pure. Resets, pings, settings, window updates and empty frames are legitimate and free for the sender: floods of them
are CVE-2019-9512, -9514, -9515, -9518, CVE-2023-44487 (rapid reset) and CVE-2025-8671 (resets that the client makes us
send). Each kind has an allowance that useful work renews, and time a little. So a long honest connection never runs
out, not even one with only a WebSocket and an occasional ping, and a flood ends soon.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Allowance(NamedTuple):
    """How many frames of a kind, at first and at most; what each complete response and each second adds."""

    at_first: int
    at_most: int
    per_response: int
    per_second: float


class Costly(IntEnum):
    """The kinds that are counted."""

    RESET = 0
    """Requests that the client resets, or makes us reset. A browser that leaves a page resets all of them."""
    CONTROL = 1
    """PING, SETTINGS, PRIORITY, unknown frames, DATA without data or for a stream that is over."""
    WINDOW = 2
    """WINDOW_UPDATE; DATA that was sent renews it too, because each frame or piece may be acknowledged."""
    REFUSED = 3
    """Malformed requests."""


ALLOWANCES: Final = {
    Costly.RESET: Allowance(200, 400, 2, 1.0),
    Costly.CONTROL: Allowance(500, 2000, 20, 5.0),
    Costly.WINDOW: Allowance(1000, 65_536, 50, 20.0),
    Costly.REFUSED: Allowance(50, 100, 1, 0.1),
}
UPDATES_PER_DATA: Final = 4
"""Window updates, of the stream and the connection, that one DATA frame of ours may cause."""
BYTES_PER_UPDATE: Final = 512
"""Bytes of DATA for each of which one more may come. Go's client sends two updates for every 4 KB that is read. The
most that may be left covers what is on its way to a client with a window of 32 MB."""
SMALL_PIECE: Final = 256
"""Bytes of a DATA frame that was cut short by a window. Smaller ones renew no allowance: the client asked for them."""

_TABLE = [ALLOWANCES[kind] for kind in Costly]


class Budget:
    """The allowances of one connection. Work and time are added up only when the client spends."""

    __slots__ = ("_left", "_seen_responses", "_seen_time", "data_bytes", "data_frames", "responses")

    def __init__(self, now: float) -> None:
        self._left = [float(each.at_first) for each in _TABLE]
        self._seen_responses = [0] * len(_TABLE)
        self._seen_time = [now] * len(_TABLE)
        self.responses = 0
        """Complete responses sent so far; the session counts them."""
        self.data_frames = 0
        """DATA frames sent since the last window update, and the bytes in them; the session counts both."""
        self.data_bytes = 0

    def spend(self, kind: Costly, now: float) -> bool:
        """Spend one; False: the allowance is used up, end with ENHANCE_YOUR_CALM. `now` in seconds."""
        allowance = _TABLE[kind]
        left = self._left[kind]
        left += (self.responses - self._seen_responses[kind]) * allowance.per_response
        left += (now - self._seen_time[kind]) * allowance.per_second
        if kind is Costly.WINDOW:
            left += self.data_frames * UPDATES_PER_DATA + self.data_bytes // BYTES_PER_UPDATE
            self.data_frames = self.data_bytes = 0
        self._seen_responses[kind] = self.responses
        self._seen_time[kind] = now
        self._left[kind] = left = min(left, allowance.at_most) - 1
        return left >= 0
