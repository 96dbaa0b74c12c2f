"""The one place where the crypto libraries' exceptions are caught, whatever they raise.

Their documentation names a few; in the field they also raise KeyError, AttributeError and Rust panics, which are not
even an `Exception`. Everything becomes `Unreadable`, which is all that the other modules know.
"""

from __future__ import annotations

from collections.abc import Callable


class Unreadable(ValueError):
    """The library can't read these bytes, or can't compute with them."""


def ask_library[T](question: Callable[[], T]) -> T:
    """The answer of a library; raises Unreadable for anything but a lack of memory or the end of the process."""
    try:
        return question()
    except (MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise Unreadable(type(error).__name__) from error
