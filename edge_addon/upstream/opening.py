"""A request that waits for a connection: in a line for its turn, then while the connection is made.

The pool decides which line it is and makes the connection; here is the place in the line, and the time limit.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from edge_addon.upstream.bounds import LINE_LENGTH, LINE_SECONDS, AddressUsage, Exceeded, Line
from edge_addon.upstream.connection import PoolOwner, UpstreamConnection


class ConnectionWaiter(Protocol):
    """Waits for a new connection. One of the methods is called once, unless the wait is cancelled."""

    def connected(self, connection: UpstreamConnection) -> None: ...

    def not_connected(self, cause: str) -> None: ...


class LinedPool(Protocol):
    """What an opening asks of its pool."""

    def exceeded(self, usage: AddressUsage) -> Exceeded | None:
        """The bound that keeps this address from one more connection."""

    def line(self, exceeded: Exceeded, usage: AddressUsage) -> Line:
        """Where a request above this bound waits."""

    def begin(self, opening: Opening, /) -> None:
        """Serve a request whose wait in a line is over."""


class Opening:
    """The wait of one request; `cancel` ends it."""

    __slots__ = (
        "_line",
        "_timer",
        "avoid",
        "has_connection",
        "is_pending",
        "max_idle",
        "pool",
        "task",
        "usage",
        "waiter",
    )

    def __init__(
        self, pool: LinedPool, waiter: ConnectionWaiter, usage: AddressUsage, max_idle: float, avoid: PoolOwner | None
    ) -> None:
        self.pool = pool
        self.waiter = waiter
        self.usage = usage
        self.max_idle = max_idle
        self.avoid = avoid
        self.has_connection = self.is_pending = False
        self.task: asyncio.Task[None] | None = None
        self._line: Line | None = None
        self._timer: asyncio.Handle | None = None

    def wait(self, line: Line, exceeded: Exceeded) -> None:
        """Join the line. The time limit is that of the first line."""
        loop = asyncio.get_running_loop()
        if len(line) >= LINE_LENGTH:
            self._end_wait()
            self._timer = loop.call_soon(self._refuse, exceeded)
            return
        self._line = line
        line[self] = None
        if self._timer is None:
            self._timer = loop.call_later(LINE_SECONDS, self._refuse, exceeded)

    def try_again(self) -> bool:
        exceeded = self.pool.exceeded(self.usage)
        if exceeded is None:
            self._end_wait()
            self.pool.begin(self)
            return True
        line = self.pool.line(exceeded, self.usage)
        if line is self._line:
            return False
        self._leave_line()
        self.wait(line, exceeded)
        return True

    def cancel(self) -> None:
        """End the wait without a call."""
        self._end_wait()
        if self.task is not None:
            self.task.cancel()

    def _refuse(self, exceeded: Exceeded) -> None:
        self._leave_line()
        self._timer = None  # it refers to this object
        self.waiter.not_connected(exceeded)

    def _end_wait(self) -> None:
        self._leave_line()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave_line(self) -> None:
        if self._line is not None:
            del self._line[self]
            self._line = None
