"""The node's part in its cluster, beside the writer of control. Without `cluster:` in edge.yaml nothing is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.fault import describe
from certstore.model.duty import Alone, Duty, Nobody
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.cluster.clustering import Clustering

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def taking_part(writer: StoreWriter, settings: Settings, base: Path) -> AsyncIterator[Duty]:
    """Gives whether this node renews and warns. If it can't take part, drops are imported and served all the same, and
    nothing is ordered: another node may be at it.
    """
    if settings.cluster is None:
        yield Alone()
        return
    try:
        clustering = await asyncio.to_thread(_start, writer, settings, base)
    except Exception as error:  # noqa: BLE001  drops must be imported in any case
        logger.error("this node takes no part in its cluster, and renews nothing: %s", _words(error))
        yield Nobody()
        return
    try:
        yield clustering.duty or Nobody()
    finally:
        await asyncio.to_thread(clustering.stop)


def _start(writer: StoreWriter, settings: Settings, base: Path) -> Clustering:
    from certstore.cluster.opening import open_clustering

    clustering = open_clustering(writer, settings, base)
    clustering.start()
    return clustering


def _words(error: Exception) -> str:
    """What the cluster's own exceptions say is for people, and quotes no secret."""
    from certstore.cluster.access import AccessUnusable
    from certstore.cluster.keys import KeysUnusable

    return str(error) if isinstance(error, (AccessUnusable, KeysUnusable)) else describe(error)
