"""The records that are in zones now: written before a record is added, and dropped after it was removed.

So a kill leaves no record behind, and a CNAME or a setting that changed meanwhile does not hide where one is. Knows
nothing of how records are written.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.layout import Layout

FORGET_AFTER = timedelta(days=7)
"""A record that could not be removed for so long is left to a person."""


@dataclass(frozen=True, slots=True)
class Placed:
    """`is_leftover`: it is needed no more, but could not be removed yet."""

    value: str
    asked: str
    name: str
    zone: str
    at: datetime
    is_leftover: bool = False


class RecordJournal:
    """By value, as each is random and at one place. May be used from several threads. Writing raises OSError."""

    def __init__(self, layout: Layout) -> None:
        self._lock = threading.Lock()
        self._state = KeyedState(layout.dns_records, layout.temporary, is_valid=is_read_by(_decoded))

    def put(self, placed: Placed) -> None:
        facts = [placed.value, placed.asked, placed.name, placed.zone, placed.at.isoformat(), placed.is_leftover]
        with self._lock:
            self._state.put(placed.value, facts)

    def find(self, value: str) -> Placed | None:
        with self._lock:
            found = self._state.get(value)
        return _decoded(found) if found is not None else None

    def drop(self, value: str) -> None:
        with self._lock:
            self._state.drop(value)

    def leftovers(self, needed: Collection[str] | None = None) -> list[Placed]:
        """Those known to be left over. At a start, when nothing runs: with `needed`, all but those."""
        with self._lock:
            placed = [_decoded(each) for each in self._state.values()]
        return [each for each in placed if each.is_leftover or (needed is not None and each.value not in needed)]

    def mark_leftovers(self, needed: Collection[str]) -> int:
        """At a start, before anything is published: all but the needed values are left over. Returns how many are."""
        found = self.leftovers(needed)
        for each in found:
            self.put(replace(each, is_leftover=True))
        return len(found)

    def close(self) -> None:
        self._state.close()


def _decoded(facts: Any) -> Placed:
    value, asked, name, zone, at, is_leftover = facts
    if not all(isinstance(each, str) for each in (value, asked, name, zone)):
        raise TypeError("not text")
    return Placed(value, asked, name, zone, datetime.fromisoformat(at), bool(is_leftover))
