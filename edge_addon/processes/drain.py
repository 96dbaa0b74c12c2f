"""Drains a worker: it accepts nothing new and lets what is under way finish, up to a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from certstore.model.settings.models import ListenerKind
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.channel import Connection

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.05


async def drain(
    plane: DataPlane,
    seconds: float,
    stop_accepting: Callable[..., None],
    on_closed: Callable[[], None] = lambda: None,
    *,
    keeps_health: bool,
) -> None:
    """Return when no client is left or the time is up; the clients that are left then are cut off.

    `stop_accepting` closes the listening sockets, with `keeps_health` all but the health listeners; `on_closed` is
    called right after.
    """
    plane.is_draining, plane.is_service_ending = True, keeps_health
    stop_accepting(keeps_health=keeps_health)
    on_closed()
    deadline = plane.loop.time() + seconds
    notified: set[Connection] = set()
    while True:
        # At each check, not only at the first: a connection accepted just before reaches the plane a moment later.
        new = plane.connections - notified
        notified |= new
        for connection in new:
            connection.drain()
        await asyncio.sleep(CHECK_SECONDS)
        remaining = len(plane.connections)
        if keeps_health:  # load balancers do not count: they connect again and again
            remaining -= sum(each.listener.kind is ListenerKind.HEALTH for each in plane.connections)
        if not remaining or plane.loop.time() >= deadline:
            break
    if remaining:
        log.warning("%d connections were still open after %g s and are cut off", remaining, seconds)
