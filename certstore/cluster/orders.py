"""Orders of a cluster's node: under a lock for each site, with a journal and accounts that all nodes share.

A certificate is published before it goes live here, in a transaction that holds only while the lock does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from certstore.acme.network import OrderFailed
from certstore.cluster.engine import CreatedAt, EngineFailed
from certstore.cluster.order_locks import LeasedEngine, LockHeld, OrderLocks
from certstore.cluster.order_queue import OrderQueue
from certstore.cluster.sealing import Sealer
from certstore.cluster.shared_accounts import SharedAccounts
from certstore.cluster.shared_books import SharedBooks
from certstore.cluster.shared_orders import SharedOrderJournal
from certstore.cluster.tokens import ClusterTokens
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.version import Version
from certstore.renewal.memory import RenewalMemory
from certstore.renewal.order_sharing import OneNode, OrderHold, OrderNotAllowed, may_be_ordered_elsewhere
from certstore.store.writer import StoreWriter

WAIT_SECONDS = 5.0
_PAUSE = 0.01


class ClusterOrders:
    """An `OrderSharing`. `why_not` says why this node may not order at all, in words and with a remedy. `applied` is
    the engine's revision up to which this node's store has everything.
    """

    def __init__(
        self,
        session: LeasedEngine,
        writer: StoreWriter,
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        queue: OrderQueue,
        tokens: ClusterTokens,
        why_not: Callable[[], tuple[str, str] | None],
        applied: Callable[[], int],
        node_at: Callable[[str], str],
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.node_at = node_at
        self._applied, self._wait_seconds = applied, wait_seconds
        self._session, self._queue, self._why_not = session, queue, why_not
        self._locks = OrderLocks(session, paths, node)
        self.books = SharedBooks(session, sealer, paths, self._locks)
        self._journal = SharedOrderJournal(
            writer.layout, session, sealer, paths, self._locks, writer.live_version, tokens.of_others
        )
        self.shared_accounts = SharedAccounts(writer.layout, session, sealer, paths, self._locks)

    def take(self, site: str) -> OrderHold:
        if (why_not := self._why_not()) is not None:
            raise OrderNotAllowed(*why_not)
        if not self._session.lease:
            raise _away(site)
        try:
            hold = _Hold(site, self._locks.take(site), self.books, self._queue)
        except LockHeld as held:
            remedy = f"to see its outcome: certedge site show {site}"
            raise OrderNotAllowed(f"{held} orders a certificate for {site} now", remedy) from None
        except EngineFailed:
            raise _away(site) from None
        try:
            self._catch_up(site, hold.fence.revision)
            self._journal.take_over(site)
        except (EngineFailed, OrderFailed):
            hold.release()
            raise _away(site) from None
        except BaseException:
            hold.release()
            raise
        return hold

    def _catch_up(self, site: str, revision: int) -> None:
        """What the lock's last holder ordered came before our lock. A node that was paused may have to order nothing
        once it has seen that. Raises OrderNotAllowed.
        """
        until = time.monotonic() + self._wait_seconds
        while self._applied() < revision:
            if time.monotonic() > until:
                raise OrderNotAllowed(
                    f"this node has not taken over what the others have, perhaps a certificate of {site}",
                    "try again soon; to see how far it is: certedge cluster status",
                )
            time.sleep(_PAUSE)

    def take_detached(self, site: str) -> OrderHold:
        if (why_not := self._why_not()) is not None:
            raise OrderNotAllowed(*why_not)
        if self._session.lease:
            raise OrderNotAllowed(
                "the cluster's engine answers, so the other nodes can be asked", "order without --detached"
            )
        return OneNode()

    def bind(self, memory: RenewalMemory | None) -> None:
        self.books.bind(memory)

    def journal(self, layout: Layout) -> SharedOrderJournal:
        return self._journal

    def accounts(self, layout: Layout) -> SharedAccounts:
        return self.shared_accounts


def _away(site: str) -> OrderNotAllowed:
    return may_be_ordered_elsewhere(site, "the cluster's engine does not answer")


@dataclass(frozen=True, slots=True)
class _Hold:
    site: str
    fence: CreatedAt
    books: SharedBooks
    queue: OrderQueue

    def consent(self, version: Version) -> str | None:
        try:
            return self.queue.publish(version, self.fence)
        except EngineFailed as error:
            detail = f"the certificate could not be given to the other nodes: {error}"
            raise OrderFailed(Failure(Cause.CLUSTER, detail)) from None

    def release(self) -> None:
        self.books.let_go(self.site)
