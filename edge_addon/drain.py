"""Ending a worker without cutting anybody off: accept nothing new, let what is under way finish, up to a deadline."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from certstore.model.settings import ListenerKind
from edge_addon.plane import Plane

if TYPE_CHECKING:
    from edge_addon.addon import Edge
    from edge_addon.connection import ClientConnection

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05


class Drain:
    """Of one worker, once."""

    def __init__(self, edge: Edge, plane: Plane, seconds: float) -> None:
        self._edge = edge
        self._plane = plane
        self._seconds = seconds

    async def run(self, *, keeps_health: bool) -> None:
        """Returns when no client is left or the time is up; those still there then are cut off by the end."""
        plane = self._plane
        plane.is_draining = True
        self._edge.stop_accepting(keeps_health=keeps_health)
        deadline = plane.loop.time() + self._seconds
        told: set[ClientConnection] = set()
        while (left := self._clients()) and plane.loop.time() < deadline:
            # At each look: a connection that was accepted just before is known to the plane a moment later.
            fresh = plane.connections - told
            told |= fresh
            for connection in fresh:
                connection.drain()
            await asyncio.sleep(LOOK_SECONDS)
        if left:
            log.warning("%d connections were still open after %g s and are cut off", left, self._seconds)

    def _clients(self) -> int:
        """Open connections, less those of balancers that ask after our health."""
        return sum(each.listener.kind is not ListenerKind.HEALTH for each in self._plane.connections)
