"""Remembers since when each problem of the service stands, so that a restart neither hides one nor tells it anew.

What lasts is decided in `model.notify.standing_problems`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.layout import Layout
from certstore.model.notify.standing_problems import (
    FoundProblem,
    Sighting,
    Standing,
    by_key,
    next_sighting,
    standing_of,
)

logger = logging.getLogger(__name__)


class ProblemTracker:
    """Used by one thread. What can't be written, as on a full disk, is remembered until the process ends."""

    def __init__(self, layout: Layout) -> None:
        self._kept = KeyedState(layout.standing_problems, layout.temporary, is_valid=is_read_by(Sighting.from_json))
        self._sightings = {key: Sighting.from_json(facts) for key, facts in self._kept.items()}
        self._is_first = True
        self._is_logged = False

    def observe(self, found: Iterable[FoundProblem], now: datetime) -> tuple[Standing, Standing]:
        """What stands of this node's problems, and of those that every node finds.

        After a start nothing stands before the second time: the first may see what the last stop left, such as workers
        that had ended.
        """
        there = by_key(found)
        for key in {*self._sightings, *there}:
            self._remember(key, next_sighting(self._sightings.get(key), now, is_there=key in there))
        if self._is_first:
            self._is_first = False
            return self.unknown(), self.unknown()
        own = {key: each for key, each in there.items() if not each.is_common}
        common = {key: each for key, each in there.items() if each.is_common}
        return standing_of(own, self._sightings), standing_of(common, self._sightings)

    def unknown(self) -> Standing:
        """What stands before anybody has looked: nothing is new, and nothing is over."""
        return Standing(lapsed=frozenset(self._sightings))

    def close(self) -> None:
        self._kept.close()

    def _remember(self, key: str, sighting: Sighting | None) -> None:
        if sighting == self._sightings.get(key):
            return
        if sighting is None:
            self._sightings.pop(key, None)
        else:
            self._sightings[key] = sighting
        try:
            if sighting is None:
                self._kept.drop(key, is_durable=False)
            else:
                self._kept.put(key, sighting.to_json(), is_durable=False)
        except OSError as error:
            if not self._is_logged:
                logger.warning("can't record since when the service has problems: %s", error.strerror)
            self._is_logged = True
        else:
            self._is_logged = False
