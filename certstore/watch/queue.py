"""Which drop place to check next, and when: the debouncing, without the threads that wait for it.

A touched place is due when it has been quiet for a moment, or after a longest wait when it never is. The thousands of
places that a scan may find wait behind those that were just touched. Safe for several threads; knows no files.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """A folder or a file of domains/, or a site by its key (main, or a site that has no place left)."""

    FOLDER = auto()
    FILE = auto()
    SITE = auto()


class Place(NamedTuple):
    kind: Kind
    name: str


class CheckQueue:
    """Times in seconds. `quiet` is how long nothing may happen to a place, `longest` when it is due all the same."""

    def __init__(self, *, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._due: dict[Place, float] = {}
        self._first_touch: dict[Place, float] = {}
        self._heap: list[tuple[float, str, Place]] = []
        self._backlog: dict[Place, None] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_taken = False

    def touch(self, place: Place) -> None:
        """Something happened there just now."""
        with self._changed:
            now = time.monotonic()
            first = self._first_touch.setdefault(place, now)
            self._put(place, min(now + self._quiet, first + self._longest))

    def check_later(self, place: Place, seconds: float) -> None:
        """Check the place after so long, unless it is due earlier anyway."""
        with self._changed:
            at = time.monotonic() + seconds
            if self._due.get(place, at) >= at:
                self._put(place, at)

    def add_backlog(self, places: Iterable[Place]) -> None:
        """Check these places when nothing urgent is due."""
        with self._changed:
            self._backlog.update(dict.fromkeys(places))
            self._changed.notify_all()

    def take(self) -> Place | None:
        """Wait for the next place; None once closed. Calling again means that the last place is done."""
        with self._changed:
            self._is_taken = False
            while not self._is_closed:
                now = time.monotonic()
                wait = self._drop_outdated()
                if wait is not None and wait <= now:
                    _, _, place = heapq.heappop(self._heap)
                    del self._due[place]
                    self._first_touch.pop(place, None)
                    self._backlog.pop(place, None)
                    self._is_taken = True
                    return place
                if self._backlog:
                    place = next(iter(self._backlog))
                    del self._backlog[place]
                    self._is_taken = True
                    return place
                self._changed.wait(None if wait is None else wait - now)
            return None

    @property
    def is_idle(self) -> bool:
        """No place is being checked and there is no backlog; places that are due later do not count."""
        with self._changed:
            return not self._backlog and not self._is_taken

    @property
    def backlog(self) -> int:
        """How many places wait without being urgent."""
        with self._changed:
            return len(self._backlog)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _put(self, place: Place, at: float) -> None:
        self._due[place] = at
        heapq.heappush(self._heap, (at, place.name, place))
        self._changed.notify_all()

    def _drop_outdated(self) -> float | None:
        """When the next place is due; removes the heap entries that a later touch has put off."""
        while self._heap:
            at, _, place = self._heap[0]
            if self._due.get(place) == at:
                return at
            heapq.heappop(self._heap)
        return None
