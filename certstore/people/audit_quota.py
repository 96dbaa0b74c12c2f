"""How many entries of the audit log one actor fills in an hour; what goes beyond is counted.

Who can fill the log could hide in it, or fill the disk with it. Refusals are what anybody can cause without a right, so
there are fewer of them. Knows no files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DONE_MOST = 5000
"""Entries about actions that the actor had the right to, started or done."""
REFUSED_MOST = 300
"""All other entries. Strangers who fail to sign in are one actor together."""
_GRANTED = frozenset({"done", "started"})


@dataclass(frozen=True, slots=True)
class Surplus:
    """Entries that were counted only."""

    who: str
    action: str
    outcome: str
    number: int
    since: datetime


@dataclass(slots=True)
class _Hour:
    begins: datetime
    granted: int = 0
    others: int = 0
    surplus: Counter[tuple[str, str]] = field(default_factory=Counter)


class AuditQuota:
    """Use it from one thread at a time."""

    def __init__(self) -> None:
        self._hours: dict[str, _Hour] = {}

    def admit(self, who: str, action: str, outcome: str, now: datetime) -> int:
        """0 if the entry is to be written; otherwise the number of such entries that were only counted this hour."""
        hour = self._hours.setdefault(who, _Hour(now))
        if outcome in _GRANTED:
            hour.granted += 1
            is_over = hour.granted > DONE_MOST
        else:
            hour.others += 1
            is_over = hour.others > REFUSED_MOST
        if not is_over:
            return 0
        hour.surplus[action, outcome] += 1
        return hour.surplus[action, outcome]

    def ended(self, now: datetime) -> list[Surplus]:
        """What was counted in the hours that are over. They begin anew."""
        over = [who for who, hour in self._hours.items() if not timedelta() <= now - hour.begins < HOUR]
        found = []
        for who in over:
            hour = self._hours.pop(who)
            for (action, outcome), number in hour.surplus.items():
                found.append(Surplus(who, action, outcome, number, hour.begins))
        return found
