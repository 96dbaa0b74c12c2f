"""How each drop place looked when nothing was left to do there: the next start passes over those that still look so.

At 50,000 sites a start would otherwise read every drop again before it comes to the one that changed. What a site
serves may have changed without a trace in its place: the writer says of which sites. A line that a power cut loses
costs one look. Safe for several threads; knows nothing of sites.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from certstore.files.keyed_state import KeyedState
from certstore.model.layout import Layout
from certstore.watch.queue import Kind, Place

logger = logging.getLogger(__name__)


class SeenPlaces:
    """Raises nothing: what can't be written down is looked at again."""

    def __init__(self, layout: Layout) -> None:
        self._kept = KeyedState(layout.seen_places, layout.temporary, is_valid=_is_signature)
        self._lock = threading.Lock()

    def signatures(self) -> dict[Place, int]:
        with self._lock:
            return {_place(key): signature for key, signature in self._kept.items()}

    def keep(self, place: Place, signature: int) -> None:
        self._write(place, signature)

    def forget(self, place: Place) -> None:
        """There is something left to do, or the place is gone."""
        self._write(place, None)

    def close(self) -> None:
        with self._lock:
            self._kept.close()

    def _write(self, place: Place, signature: int | None) -> None:
        key = f"{place.kind.name}/{place.name}"
        with self._lock:
            try:
                if signature is None:
                    self._kept.drop(key, is_durable=False)
                else:
                    self._kept.put(key, signature, is_durable=False)
            except OSError as error:
                logger.debug("%s: %s", key, error.strerror)


def _is_signature(value: Any) -> bool:
    return type(value) is int


def _place(key: str) -> Place:
    kind, _, name = key.partition("/")
    return Place(Kind.__members__.get(kind, Kind.SITE), name)
