"""Which idle connections give way to new clients, near a limit.

Pure. Without that, clients that hold connections open for nothing would keep out everyone who comes after them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from edge_addon.transport.channel import Connection

IDLE_SECONDS = 5.0
"""A connection that was in use, or opened, more recently is left alone: its next request may be on its way."""
PAUSE_SECONDS = 1.0
"""The time between two looks for idle connections, so that a flood of clients causes few of them."""
SHARE = 20
"""Near a limit is its last twentieth. As many connections give way at a time."""


def is_near(count: int, limit: int) -> bool:
    """Whether so many connections are near the limit."""
    return count > limit - limit // SHARE


def select_idle(connections: Iterable[Connection], now: float, limit: int) -> list[Connection]:
    """The connections that have been idle for the longest time, at most a share of `limit`."""
    idle = [
        (since, position, connection)
        for position, connection in enumerate(connections)
        if (since := connection.idle_since) is not None and now - since >= IDLE_SECONDS
    ]
    return [connection for *_, connection in heapq.nsmallest(max(limit // SHARE, 1), idle)]
