"""Wakes listeners in the event loop, from any thread, when something happened. It has no content: a woken listener
looks for itself, so a slow one misses nothing and delays nobody.
"""

from __future__ import annotations

import asyncio


class Broadcast:
    """Created in the loop. After `close`, every wait ends immediately."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Event] = set()
        self.is_closed = False

    def announce(self) -> None:
        """Wake every listener, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            pass  # the loop has ended, and its listeners with it

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    async def wait(self, seconds: float) -> None:
        """Wait for the next `announce`, for at most `seconds`."""
        if self.is_closed:
            return
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
