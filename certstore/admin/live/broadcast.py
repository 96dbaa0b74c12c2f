"""Tells listeners in the event loop that something happened, from any thread. It carries no content: who is woken looks
for itself, so that a slow listener misses nothing and holds nothing up.
"""

from __future__ import annotations

import asyncio


class Broadcast:
    """Made in the loop. After `close` every wait ends at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Event] = set()
        self.is_closed = False

    def tell(self) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            pass  # the loop has ended, and its listeners with it

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    async def wait(self, seconds: float) -> None:
        """Until the next `tell`, or at most so long."""
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
