"""When to try again after a failed order: after 1, 10 and 100 minutes, then daily, each spread a little.

These are the steps that Let's Encrypt asks of clients. A certificate that lives a few days can't wait for a day, so a
step is never longer than a thirtieth of the lifetime. Pure: the caller gives the fraction that spreads.
"""

from __future__ import annotations

from datetime import datetime, timedelta

STEPS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100))
DAILY = timedelta(days=1)
SPREAD = 0.2
"""A step grows by up to this share, so that sites that failed together do not come back together."""

LONGEST_RETRY_AFTER = timedelta(days=2)
"""A CA that asks for more is at fault; asking it once in two days hurts nobody."""


def select_next_attempt(
    failures: int, now: datetime, *, fraction: float, lifetime: timedelta | None, retry_after: datetime | None = None
) -> datetime:
    """`failures` counts those in a row, with this one; `lifetime` is that of the certificate to be renewed.

    `retry_after` counts where it is later than our own step.
    """
    step = STEPS[failures - 1] if 0 < failures <= len(STEPS) else DAILY
    if lifetime is not None:
        step = min(step, max(lifetime / 30, STEPS[0]))
    own = now + step * (1 + SPREAD * fraction)
    if retry_after is None:
        return own
    return max(own, min(retry_after, now + LONGEST_RETRY_AFTER))
