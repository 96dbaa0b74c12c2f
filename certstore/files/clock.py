"""The system's wall clock, read here and nowhere else.

Code that decides gets the time as an argument; code that runs for long is given a `Clock`, `utc_now` by default.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

type Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, aware and in UTC."""
    return datetime.now(UTC)
