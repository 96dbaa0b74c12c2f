"""How each drop place looked when nothing was left to do there: the next start passes over those that still look so.

At 50,000 sites a start would otherwise read every drop again before it comes to the one that changed. What a site
serves may have changed without a trace in its place: the writer says of which sites. A line that a power cut loses
costs one look. The file alone remembers: in memory, 50,000 places would only lie there. Safe for several threads; knows
nothing of sites.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping

from certstore.files.line_log import LineLog
from certstore.model.layout import Layout
from certstore.watch.queue import Kind, Place

logger = logging.getLogger(__name__)

_SPARE_LINES = 100


class SeenPlaces:
    """Raises nothing: what can't be written down is looked at again."""

    def __init__(self, layout: Layout) -> None:
        self._log = LineLog(layout.seen_places, layout.temporary)
        self._lock = threading.Lock()
        kept, lines, is_whole = self._read()
        if not is_whole or lines > 2 * len(kept) + _SPARE_LINES:
            self._rewrite(kept)

    def signatures(self) -> dict[Place, int]:
        with self._lock:
            kept, _, _ = self._read()
        return {_place(key): signature for key, signature in kept.items()}

    def keep(self, place: Place, signature: int) -> None:
        self._write(place, signature)

    def forget(self, place: Place) -> None:
        """There is something left to do, or the place is gone."""
        self._write(place)

    def close(self) -> None:
        with self._lock:
            self._log.close()

    def _write(self, place: Place, *signature: int) -> None:
        key = f"{place.kind.name}/{place.name}"
        with self._lock:
            try:
                self._log.append([[key, *signature]], is_durable=False)
            except OSError as error:
                logger.debug("%s: %s", key, error.strerror)
                return
            if self._log.is_overgrown:
                self._rewrite(self._read()[0])

    def _read(self) -> tuple[dict[str, int], int, bool]:
        """What is kept, how many lines tell of it, and whether all of them could be read."""
        kept: dict[str, int] = {}
        try:
            lines, is_whole = self._log.read()
        except OSError as error:
            logger.debug("the places that were seen: %s", error.strerror)
            return kept, 0, True
        for line in lines:
            match line:
                case [str(key), signature] if type(signature) is int:
                    kept[key] = signature
                case [str(key)]:
                    kept.pop(key, None)
                case _:
                    is_whole = False
        return kept, len(lines), is_whole

    def _rewrite(self, kept: Mapping[str, int]) -> None:
        # On a full disk the old file stays; its content is the same.
        with contextlib.suppress(OSError):
            self._log.rewrite([key, signature] for key, signature in kept.items())


def _place(key: str) -> Place:
    kind, _, name = key.partition("/")
    return Place(Kind.__members__.get(kind, Kind.SITE), name)
