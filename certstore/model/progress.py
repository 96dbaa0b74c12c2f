"""Progress of long work, one sentence at a time, for the person who waits."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]
"""May be called from any thread."""


def tell_nobody(message: str) -> None:
    """For work that nobody waits for."""
