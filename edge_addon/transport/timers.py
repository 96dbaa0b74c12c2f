"""Coarse timers for one event loop: thousands of deadlines for one callback a second.

A connection has one timer and resets it in each phase, many times a second. `loop.call_later` would add a heap entry
each time; here moving a deadline is one assignment, because a timer that expires too early is scheduled again. The
resolution is one second: a callback may run up to a second late, never early.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import ceil

RESOLUTION = 1.0
LONGEST_WAIT = 64
"""Seconds after which a waiting timer is checked, so that a cancelled one is not kept for all of its time."""


@dataclass(slots=True, eq=False, repr=False)
class Timer:
    """One deadline that can be moved and cancelled at any time, even after it has fired."""

    _timers: Timers
    _: KW_ONLY
    _callback: Callable[[], None] | None = None
    _due: float = 0.0
    _slot: int = 0
    """The second in which `expire` is called; 0 when it is not scheduled."""

    @property
    def due(self) -> float:
        """The time of the deadline that was set last."""
        return self._due

    def set(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` in `seconds`, instead of what was set before."""
        self._callback = callback
        self._due = due = self._timers.time() + seconds
        if not self._slot or due < self._slot - RESOLUTION:
            self._slot = self._timers.schedule(self, due)

    def cancel(self) -> None:
        """Clear the deadline. The timer can be set again."""
        self._callback = None

    def expire(self, slot: int) -> None:
        """The slot's second has come: fire, wait on for a deadline that has moved, or do nothing."""
        if slot != self._slot:
            return  # the deadline was moved forward, to another slot
        self._slot = 0
        if (callback := self._callback) is None:
            return
        if self._due > self._timers.time():
            self._slot = self._timers.schedule(self, self._due)
            return
        self._callback = None
        callback()


class Timers:
    """The deadlines of one event loop, in slots of one second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = loop.time
        self._loop = loop
        self._slots: defaultdict[int, list[Timer]] = defaultdict(list)
        self._fired = int(loop.time())
        self._tick: asyncio.TimerHandle | None = None

    def timer(self) -> Timer:
        """A new timer, not set."""
        return Timer(self)

    def schedule(self, timer: Timer, due: float) -> int:
        """Queue the timer in the slot of `due`; for `Timer` only."""
        slot = max(min(ceil(due), int(self.time()) + LONGEST_WAIT), self._fired + 1)
        self._slots[slot].append(timer)
        if self._tick is None:
            self._tick = self._loop.call_later(RESOLUTION, self._fire)
        return slot

    def _fire(self) -> None:
        self._tick = None
        now = int(self._loop.time())
        for slot in sorted(slot for slot in self._slots if slot <= now):
            self._fired = slot
            for timer in self._slots.pop(slot):
                try:
                    timer.expire(slot)
                except Exception as error:  # noqa: BLE001  one connection's error must not stop the deadlines of others
                    self._loop.call_exception_handler({"message": "the callback of a timer failed", "exception": error})
        self._fired = now
        if self._slots and self._tick is None:
            self._tick = self._loop.call_later(RESOLUTION, self._fire)

    def stop(self) -> None:
        """Clear all deadlines."""
        self._slots.clear()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
