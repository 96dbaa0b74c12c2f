"""Which drop place to check next, and when: the debouncing and the fairness, without the threads that wait for it.

A touched place is due when it has been quiet for a moment, or after a longest wait when it never is. The thousands of
places that a scan may find wait behind those that were just touched. Of one tenant only one place is checked at a time:
a client who drops much delays only that client. Safe for several threads; knows no files.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Waiting:
    """The places of a tenant of which another one is being checked, in order: the touched ones, then the others."""

    touched: dict[Place, None] = field(default_factory=dict)
    others: dict[Place, None] = field(default_factory=dict)

    def next(self) -> Place | None:
        places = self.touched or self.others
        place = next(iter(places), None)
        if place is not None:
            del places[place]
        return place


class CheckQueue:
    """Times in seconds. `quiet` is how long nothing may happen to a place, `longest` when it is due all the same.

    Every place that `take` returns is given back by `done`, except where `begin` says that it has to wait.
    """

    def __init__(self, *, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._due: dict[Place, float] = {}
        self._first_touch: dict[Place, float] = {}
        self._heap: list[tuple[float, str, Place]] = []
        self._backlog: dict[Place, None] = {}
        self._taken: dict[Place, bool] = {}
        """The places that were taken, and whether they were due because something happened there."""
        self._again: set[Place] = set()
        """Those of them that are due again."""
        self._turn: dict[str, Place] = {}
        """By tenant, the one place that is checked, or checked next."""
        self._tenant: dict[Place, str] = {}
        """The same the other way round."""
        self._waiting: dict[str, _Waiting] = {}
        self._changed = threading.Condition()
        self._is_closed = False

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
        """Wait for the next place that is not being checked already; None once closed."""
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                wait = self._drop_outdated()
                if wait is not None and wait <= now:
                    _, _, place = heapq.heappop(self._heap)
                    del self._due[place]
                    self._first_touch.pop(place, None)
                    self._backlog.pop(place, None)
                    if self._is_free(place):
                        self._taken[place] = True
                        return place
                elif self._backlog:
                    place = next(iter(self._backlog))
                    del self._backlog[place]
                    if self._is_free(place):
                        self._taken[place] = False
                        return place
                else:
                    self._changed.wait(None if wait is None else wait - now)
            return None

    def begin(self, place: Place, tenant: str) -> bool:
        """Whether a place that was taken may be checked now. If not, it is taken again when the tenant's turn comes."""
        with self._changed:
            if self._turn.setdefault(tenant, place) == place:
                if self._tenant.get(place, tenant) != tenant:
                    self._end_turn(place)
                self._tenant[place] = tenant
                return True
            waiting = self._waiting.setdefault(tenant, _Waiting())
            (waiting.touched if self._taken[place] else waiting.others)[place] = None
            self._give_back(place)
            return False

    def is_touched(self, place: Place) -> bool:
        """Whether a place that was taken was due because something happened there."""
        return self._taken.get(place, False)

    def done(self, place: Place) -> None:
        """The place was checked, or needs no check."""
        with self._changed:
            self._give_back(place)
            self._changed.notify_all()

    @property
    def is_idle(self) -> bool:
        """No place is being checked and there is no backlog; places that are due later do not count."""
        with self._changed:
            return not self._backlog and not self._taken and not self._turn

    @property
    def backlog(self) -> int:
        """How many places wait without being urgent."""
        with self._changed:
            return len(self._backlog) + sum(len(each.others) for each in self._waiting.values())

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _is_free(self, place: Place) -> bool:
        """Whether no check of the place runs; if one does, note that the place is due again."""
        if place in self._taken:
            self._again.add(place)
            return False
        return True

    def _give_back(self, place: Place) -> None:
        del self._taken[place]
        self._end_turn(place)
        if place in self._again:
            self._again.remove(place)
            self._put(place, time.monotonic())

    def _end_turn(self, place: Place) -> None:
        """The next place of the same tenant has it."""
        tenant = self._tenant.pop(place, None)
        if tenant is None:
            return
        waiting = self._waiting.get(tenant)
        following = waiting.next() if waiting is not None else None
        if following is None:
            self._waiting.pop(tenant, None)
            del self._turn[tenant]
            return
        self._turn[tenant], self._tenant[following] = following, tenant
        self._put(following, time.monotonic())

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
