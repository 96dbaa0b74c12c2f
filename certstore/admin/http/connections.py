"""Bounds the console's connections, and closes waiting ones in favour of new ones.

uvicorn answers 503 to everyone once there are too many connections, and waits without limit for the first and the last
byte of a request: a few hundred silent connections would block the console, its health checks and its metrics. Here a
request must be complete in time, and if there are too many connections, the one that has waited longest is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LIMIT = 500
DISCARDED_BYTES = 8 << 20
"""How much of a body is taken from the network after its answer: a browser shows the answer only after sending it all.
"""
REQUEST_SECONDS = 120.0
"""From the connection's start, or its last answer, to the end of the next request: 4 MB over a slow line."""


class BoundedProtocol(H11Protocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) >= LIMIT:
            waiting = [each for each in self.connections if isinstance(each, BoundedProtocol) and each.is_waiting]
            if waiting:
                min(waiting, key=lambda each: each._waiting_since).end()

    def data_received(self, data: bytes) -> None:
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY:
            self._discarded += len(data)
            if self._discarded > DISCARDED_BYTES:
                self.end()
                return
        else:
            self._discarded = 0
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    @property
    def is_waiting(self) -> bool:
        """Whether the connection waits for a request, or for the rest of one."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def end(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self) -> None:
        self._stop_waiting()
        self._waiting_since = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._time_out)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if self.is_waiting:
            self.end()
