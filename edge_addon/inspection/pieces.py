"""A body on its way from one side to the other. What arrives while a hook runs waits here.

Knows nothing of HTTP. The source is paused while more than `HELD_BYTES` wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HELD_BYTES = 64 * 1024


class BrokenOff(Exception):
    """The rest of the body will not come, or nobody needs it."""


class Pieces:
    """One body. `pause` stops its source and `resume` lets it go on."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.is_paused = self.is_complete = False
        self.trailers: list[bytes] = []
        self._pause = pause
        self._resume = resume
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_broken = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, data: bytes) -> None:
        """Add the next bytes."""
        if not data or self._is_broken:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES and not self.is_paused:
            self.is_paused = True
            self._pause()
        self._wake()

    def end(self, trailers: list[bytes]) -> None:
        """The body is complete; `trailers` are header lines."""
        self.is_complete = True
        self.trailers = trailers
        self._wake()

    def break_off(self) -> None:
        """Drop what waits and what still comes; `next` raises BrokenOff."""
        self._is_broken = True
        self._pause = self._resume = _do_nothing
        self._pieces.clear()
        self._wake()

    def take(self) -> bytes:
        """All bytes that wait, possibly none."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self.is_paused:
            self.is_paused = False
            self._resume()
        return data

    async def next(self) -> bytes:
        """The next bytes, empty at the end; raises BrokenOff."""
        while not (self._pieces or self.is_complete or self._is_broken):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._is_broken:
            raise BrokenOff
        return self.take()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _do_nothing() -> None:
    """The source of a body that has broken off is left alone."""
