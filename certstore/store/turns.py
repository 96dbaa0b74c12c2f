"""Lets a few callers work at once, and only one of each owner's: an owner who asks for much delays only that owner.

In the order in which they came. Knows nothing of the work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from certstore.store.errors import TooBusy


class Turns:
    """`at_once` callers in all. `refused` counts those that were turned away."""

    def __init__(self, at_once: int) -> None:
        self.refused = 0
        self._at_once = at_once
        self._owners: dict[object, str] = {}
        """Owners by ticket, in the order in which they came."""
        self._working: set[object] = set()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, owner: str, most: int | None = None) -> Iterator[None]:
        """The owner's turn, after those before it. Raises TooBusy where `most` of this owner's work or wait already."""
        ticket = object()
        with self._changed:
            if most is not None and sum(each == owner for each in self._owners.values()) >= most:
                self.refused += 1
                raise TooBusy(f"{most} uploads of yours are being read already")
            self._owners[ticket] = owner
            self._changed.wait_for(lambda: self._next() is ticket)
            self._working.add(ticket)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._working.remove(ticket)
                del self._owners[ticket]
                self._changed.notify_all()

    def _next(self) -> object | None:
        """The first whose owner does not work; None while all places are taken."""
        if len(self._working) >= self._at_once:
            return None
        busy = {self._owners[ticket] for ticket in self._working}
        return next((ticket for ticket, owner in self._owners.items() if owner not in busy), None)
