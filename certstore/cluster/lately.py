"""What happened within the last day: long enough for a person to see it, then it is history.

For what the nodes have solved by themselves. It stands in records and the log for good; a restart forgets it here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

LASTS = timedelta(days=1)
_MOST = 1000


class Lately:
    """Used by one thread; `at` and `now` are times of the same clock."""

    def __init__(self) -> None:
        self._seen: dict[str, datetime] = {}

    def note(self, what: str, at: datetime) -> None:
        self._seen.pop(what, None)
        self._seen[what] = at
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def since(self, now: datetime) -> list[str]:
        """What was noted within the last day, the latest first. A clock that was set back hides nothing."""
        return [what for what, at in reversed(self._seen.items()) if now - at < LASTS]
