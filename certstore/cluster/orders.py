"""Orders of a cluster's node: under a lock for each site, with a journal and accounts that all nodes share.

A certificate is published before it goes live here, in a transaction that holds only while the lock does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certstore.acme.network import OrderFailed
from certstore.cluster.engine import CreatedAt, EngineFailed
from certstore.cluster.order_locks import LeasedEngine, LockHeld, OrderLocks
from certstore.cluster.order_queue import OrderQueue
from certstore.cluster.sealing import Sealer
from certstore.cluster.shared_accounts import SharedAccounts
from certstore.cluster.shared_orders import SharedOrderJournal
from certstore.cluster.tokens import ClusterTokens
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.version import Version
from certstore.renewal.order_sharing import OrderHold, OrderNotAllowed
from certstore.store.writer import StoreWriter


class ClusterOrders:
    """An `OrderSharing`. `why_not` says why this node may not order at all, in words and with a remedy."""

    def __init__(
        self,
        session: LeasedEngine,
        writer: StoreWriter,
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        queue: OrderQueue,
        tokens: ClusterTokens,
        why_not: Callable[[], tuple[str, str] | None] = lambda: None,
    ) -> None:
        self._session, self._queue, self._why_not = session, queue, why_not
        self._locks = OrderLocks(session, paths, node)
        self._journal = SharedOrderJournal(
            writer.layout, session, sealer, paths, self._locks, writer.live_version, tokens.of_others
        )
        self._accounts = SharedAccounts(writer.layout, session, sealer, paths, self._locks)

    def take(self, site: str) -> OrderHold:
        if (why_not := self._why_not()) is not None:
            raise OrderNotAllowed(*why_not)
        if not self._session.lease:
            raise engine_away(site)
        try:
            hold = _Hold(site, self._locks.take(site), self._locks, self._queue)
        except LockHeld as held:
            remedy = f"to see its outcome: certedge site show {site}"
            raise OrderNotAllowed(f"{held} orders a certificate for {site} now", remedy) from None
        except EngineFailed:
            raise engine_away(site) from None
        try:
            self._journal.take_over(site)
        except (EngineFailed, OrderFailed):
            hold.release()
            raise engine_away(site) from None
        except BaseException:
            hold.release()
            raise
        return hold

    def journal(self, layout: Layout) -> SharedOrderJournal:
        return self._journal

    def accounts(self, layout: Layout) -> SharedAccounts:
        return self._accounts


def engine_away(site: str) -> OrderNotAllowed:
    return OrderNotAllowed(
        "the cluster's engine does not answer, and another node may be ordering",
        f"where it can't be waited for, on one node: certedge cert request {site} --detached",
    )


@dataclass(frozen=True, slots=True)
class _Hold:
    site: str
    fence: CreatedAt
    locks: OrderLocks
    queue: OrderQueue

    def consent(self, version: Version) -> str | None:
        try:
            return self.queue.publish(version, self.fence)
        except EngineFailed as error:
            detail = f"the certificate could not be given to the other nodes: {error}"
            raise OrderFailed(Failure(Cause.CLUSTER, detail)) from None

    def release(self) -> None:
        self.locks.release(self.site)
