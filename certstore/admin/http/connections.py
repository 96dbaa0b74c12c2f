"""The console's connections, which must not run out: those that wait give way to those that come.

uvicorn answers 503 to everybody once there are too many, and waits for a request's first bytes, and for its last,
without end: a few hundred connections that say nothing would close the console, its health and its metrics to all. Here
a request has to be whole in time, and when there are too many connections the one goes that has waited longest for one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LIMIT = 500
REQUEST_SECONDS = 120.0
"""From the connection, or the last answer on it, to the end of the next request: 4 MB over a slow line."""


class BoundedProtocol(H11Protocol):
    """Made by uvicorn, one for each connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waits_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) >= LIMIT:
            waiting = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.waits]
            if waiting:
                min(waiting, key=lambda each: each._waits_since).end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    @property
    def waits(self) -> bool:
        """For a request, or for the rest of one."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def end(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self) -> None:
        self._stop_waiting()
        self._waits_since = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._end_of_patience)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_of_patience(self) -> None:
        if self.waits:
            self.end()
