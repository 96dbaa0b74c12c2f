"""Unforeseen exceptions in words that may be logged."""

from __future__ import annotations

import traceback


def describe(error: Exception) -> str:
    """For the log. The message of an exception that is not an OSError could quote what must not be logged."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    where = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__} at\n{where}"
