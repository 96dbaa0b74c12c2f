"""How much of what costs us and moves nothing a client may send over HTTP/2.

Pure. Resets, pings, settings, window updates and empty frames are all legitimate and all free for the sender: floods
of them are CVE-2019-9512, -9514, -9515, -9518, CVE-2023-44487 (rapid reset) and CVE-2025-8671 (resets that the client
makes us send). Each kind has an allowance that useful work renews, and time a little: a long honest connection, one
with nothing but a WebSocket and a ping now and then too, never runs out, and a flood ends soon.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Allowance(NamedTuple):
    """How many of a kind, at first and at most; what a whole response and a second add."""

    at_first: int
    at_most: int
    per_response: int
    per_second: float


class Costly(IntEnum):
    """What is counted."""

    RESET = 0
    """Requests that the client takes back, or makes us refuse. A browser that leaves a page does it to all of them."""
    CONTROL = 1
    """PING, SETTINGS, PRIORITY, unknown frames, DATA without data or for a stream that is over."""
    WINDOW = 2
    """WINDOW_UPDATE; what was sent renews it too, as each piece of it may be acknowledged."""
    REFUSED = 3
    """Requests that were malformed."""


ALLOWANCES: Final = {
    Costly.RESET: Allowance(200, 400, 2, 1.0),
    Costly.CONTROL: Allowance(500, 2000, 20, 5.0),
    Costly.WINDOW: Allowance(1000, 8000, 50, 20.0),
    Costly.REFUSED: Allowance(50, 100, 1, 0.1),
}
UPDATES_PER_DATA: Final = 4
"""Window updates, of the stream and the connection, that one DATA frame of ours may bring about."""

_TABLE = [ALLOWANCES[kind] for kind in Costly]


class Budget:
    """One connection's allowances. Work and time are added up only when something is spent."""

    __slots__ = ("_left", "_seen_responses", "_seen_time", "data_frames", "responses")

    def __init__(self, now: float) -> None:
        self._left = [float(each.at_first) for each in _TABLE]
        self._seen_responses = [0] * len(_TABLE)
        self._seen_time = [now] * len(_TABLE)
        self.responses = 0
        """Responses sent whole so far; counted up by the session."""
        self.data_frames = 0
        """DATA frames sent since the last window update; counted up by the session."""

    def spend(self, kind: Costly, now: float) -> bool:
        """False when the allowance is used up: the connection should end with ENHANCE_YOUR_CALM. `now` in seconds."""
        allowance = _TABLE[kind]
        left = self._left[kind]
        left += (self.responses - self._seen_responses[kind]) * allowance.per_response
        left += (now - self._seen_time[kind]) * allowance.per_second
        if kind is Costly.WINDOW:
            left += self.data_frames * UPDATES_PER_DATA
            self.data_frames = 0
        self._seen_responses[kind] = self.responses
        self._seen_time[kind] = now
        self._left[kind] = left = min(left, allowance.at_most) - 1
        return left >= 0
