"""Waiting for a condition, with a deadline. The only place in the tests that sleeps."""

import asyncio
import time
from collections.abc import Callable


def wait_for[T](condition: Callable[[], T], what: str, *, seconds: float = 60.0, pause: float = 0.01) -> T:
    """Return the condition's first true value; fail after `seconds` with `what` as the thing that did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last seen: {value!r})")
        time.sleep(pause)


async def wait_for_in_loop[T](
    condition: Callable[[], T], what: str, *, seconds: float = 60.0, pause: float = 0.01
) -> T:
    """`wait_for` for a test that runs inside an event loop."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last seen: {value!r})")
        await asyncio.sleep(pause)
