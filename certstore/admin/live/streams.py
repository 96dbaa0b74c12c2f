"""Bounds the server-sent events that are open at once: each keeps a connection, and the console has only so many.

Somebody who may see one site must not be able to close the console to everybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

from certstore.control.protocol import Fault, RequestFailed

PER_ACTOR = 20
"""Pages that one person keeps open; a browser has six to a server before it waits by itself."""
IN_ALL = 200


class Streams:
    """Counted in the event loop; asked from any thread."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, who: str) -> None:
        """Raises VerbFailed (busy)."""
        if not self._has_room(who):
            raise RequestFailed(
                Fault.BUSY, "too many event streams are open", "close some, or ask now and then instead"
            )

    async def counted(self, who: str, messages: AsyncGenerator[str]) -> AsyncIterator[str]:
        """The messages. It may turn out only here that there is no room: many at once pass `check` together."""
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
