"""Bounds the open streams of server-sent events: each takes one of the console's connections.

A user who may see one site must not be able to block the console for everyone else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

from certstore.control.protocol import Fault, RequestFailed

PER_ACTOR = 20
"""Streams of one actor; a browser opens at most six connections to a server."""
IN_ALL = 200


class Streams:
    """Counts in the event loop; `check` runs on any thread."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, who: str) -> None:
        """Raises RequestFailed (busy)."""
        if not self._has_room(who):
            raise RequestFailed(Fault.BUSY, "too many event streams are open", "close some, or poll instead")

    async def counted(self, who: str, messages: AsyncGenerator[str]) -> AsyncIterator[str]:
        """The messages, none if there is no room after all: several streams may pass `check` at the same time."""
        try:
            if not self._has_room(who):
                return
            self._open[who] += 1
            try:
                async for message in messages:
                    yield message
            finally:
                self._open[who] -= 1
                self._open += Counter()  # forget those who have none
        finally:
            await messages.aclose()

    def _has_room(self, who: str) -> bool:
        return self._open[who] < PER_ACTOR and self._open.total() < IN_ALL
