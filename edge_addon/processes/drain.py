"""Drains a worker: it accepts nothing new and lets what is under way finish, up to a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from certstore.model.settings.models import ListenerKind
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.channel import Connection

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.05


class Acceptor(Protocol):
    """What accepts connections, the addon."""

    def stop_accepting(self, *, keeps_health: bool) -> None:
        """Close the listening sockets; with `keeps_health` all but the health listeners."""


class Drain:
    """The drain of one worker."""

    def __init__(
        self, acceptor: Acceptor, plane: DataPlane, seconds: float, on_closed: Callable[[], None] = lambda: None
    ) -> None:
        """`on_closed` is called once the worker accepts no more connections."""
        self._acceptor = acceptor
        self._plane = plane
        self._seconds = seconds
        self._on_closed = on_closed

    async def run(self, *, keeps_health: bool) -> None:
        """Return when no client is left or the time is up; the clients that are left then are cut off."""
        plane = self._plane
        plane.is_draining, plane.is_service_ending = True, keeps_health
        self._acceptor.stop_accepting(keeps_health=keeps_health)
        self._on_closed()
        deadline = plane.loop.time() + self._seconds
        notified: set[Connection] = set()
        while True:
            # At each check, not only at the first: a connection accepted just before reaches the plane a moment later.
            new = plane.connections - notified
            notified |= new
            for connection in new:
                connection.drain()
            await asyncio.sleep(CHECK_SECONDS)
            remaining = self._clients(with_balancers=not keeps_health)
            if not remaining or plane.loop.time() >= deadline:
                break
        if remaining:
            log.warning("%d connections were still open after %g s and are cut off", remaining, self._seconds)

    def _clients(self, *, with_balancers: bool) -> int:
        """Open connections. A drain that answers load balancers does not count them: they connect again and again."""
        if with_balancers:
            return len(self._plane.connections)
        return sum(each.listener.kind is not ListenerKind.HEALTH for each in self._plane.connections)
