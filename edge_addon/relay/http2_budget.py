"""How much of what costs us and moves nothing a client may send over HTTP/2.

Pure. Resets, pings, settings, window updates and empty frames are all legitimate and all free for the sender: floods
of them are CVE-2019-9512, -9514, -9515, -9518 and CVE-2023-44487 (rapid reset). Each kind has an allowance that useful
work renews, so a long honest connection never runs out and an idle flood ends soon.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class _Allowance(NamedTuple):
    at_first: int
    per_response: int
    at_most: int


class Costly(Enum):
    """What is counted."""

    RESET = _Allowance(at_first=100, per_response=2, at_most=200)
    """Requests that the client takes back; a browser that leaves a page does it to all that were under way."""
    CONTROL = _Allowance(at_first=500, per_response=20, at_most=2000)
    """PING, SETTINGS, PRIORITY, DATA without data."""
    WINDOW = _Allowance(at_first=1000, per_response=50, at_most=4000)
    """WINDOW_UPDATE; what was sent renews it too, as each piece of it may be acknowledged."""
    REFUSED = _Allowance(at_first=50, per_response=1, at_most=100)
    """Requests that were malformed."""


class Budget:
    """One connection's allowances."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = {kind: kind.value.at_first for kind in Costly}

    def spend(self, kind: Costly, amount: int = 1) -> bool:
        """False when the allowance is used up: the connection should end with ENHANCE_YOUR_CALM."""
        self._left[kind] -= amount
        return self._left[kind] >= 0

    def renew(self) -> None:
        """A response has been sent whole."""
        left = self._left
        for kind in Costly:
            allowance = kind.value
            left[kind] = min(left[kind] + allowance.per_response, allowance.at_most)

    def sent_data(self) -> None:
        """A DATA frame went out: the client will answer it with window updates, of the stream and the connection."""
        self._left[Costly.WINDOW] = min(self._left[Costly.WINDOW] + 4, Costly.WINDOW.value.at_most)
