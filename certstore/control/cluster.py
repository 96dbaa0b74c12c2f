"""The node's part in its cluster, beside the writer of control. Without `cluster:` in edge.yaml nothing is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.fault import describe
from certstore.model.duty import Alone, Duty, Nobody
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.acme.token_sharing import TokenSharing
    from certstore.cluster.clustering import Clustering
    from certstore.notify.told_sharing import ToldSharing
    from certstore.renewal.order_sharing import OrderSharing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """Whether this node renews and warns, and who gives the other nodes its challenge tokens, its orders, and what it
    has told recipients of warnings.
    """

    duty: Duty
    sharing: TokenSharing | None = None
    orders: OrderSharing | None = None
    told: ToldSharing | None = None


@contextlib.asynccontextmanager
async def taking_part(writer: StoreWriter, settings: Settings, base: Path) -> AsyncIterator[Part]:
    """If the node can't take part, drops are imported and served all the same, and nothing is ordered: another node may
    be at it.
    """
    if settings.cluster is None:
        yield Part(Alone())
        return
    try:
        clustering = await asyncio.to_thread(_start, writer, settings, base)
    except Exception as error:  # noqa: BLE001  drops must be imported in any case
        logger.error("this node takes no part in its cluster, and renews nothing: %s", _words(error))
        from certstore.renewal.order_sharing import AskingNobody

        yield Part(Nobody(), orders=AskingNobody("this node takes no part in its cluster"))
        return
    try:
        yield Part(clustering.duty or Nobody(), clustering.tokens, clustering.orders, clustering.told)
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
