"""Progress of work that takes a while, one sentence at a time, for the person who waits."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]
"""May be called from any thread."""


def tell_nobody(message: str) -> None:
    """For callers with nobody who waits."""
