"""How long a sign-in must wait after failed ones: the wait doubles, counted per name and per address. Pure.

Per name the wait stays short, or anybody could lock a person out; per address it grows until guessing is hopeless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FREE_FAILURES = 3
"""Typing errors that cost no wait."""

FIRST_WAIT = timedelta(seconds=2)
LONGEST_BY_NAME = timedelta(seconds=30)
LONGEST_BY_ADDRESS = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Failures:
    """Consecutive failed sign-ins with one name or from one address."""

    count: int
    last: datetime


def after_failure(before: Failures | None, now: datetime) -> Failures:
    if before is None or now - before.last >= FORGOTTEN_AFTER:
        return Failures(1, now)
    return Failures(before.count + 1, now)


def open_at(failures: Failures | None, now: datetime, longest: timedelta) -> datetime | None:
    """When the next attempt is accepted; None if it is accepted now."""
    if failures is None or failures.count <= FREE_FAILURES or now - failures.last >= FORGOTTEN_AFTER:
        return None
    # The exponent is bounded: a count of thousands would overflow a timedelta.
    wait = min(FIRST_WAIT * 2 ** min(failures.count - FREE_FAILURES - 1, 16), longest)
    until = failures.last + wait
    return until if until > now else None
