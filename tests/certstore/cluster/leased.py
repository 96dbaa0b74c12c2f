"""Ways to an engine in memory that have a lease, as a session has, on a clock that the test moves."""

from __future__ import annotations

from datetime import timedelta

from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.order_locks import OrderLocks
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Role
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore

LEASE = timedelta(seconds=10)
RING = KeyRing.draw("edge-a")
PATHS = ClusterPaths(RING.cluster)


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class LeasedSession(MemoryEngine):
    def __init__(self, store: MemoryStore, name: str) -> None:
        super().__init__(store, name)
        self.lease = self.grant(LEASE)


class LockingNode:
    """What one node needs to order under locks."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        ring = RING if name == RING.node else RING.for_member(name, Role.EDGE, NodeKeys.draw())
        self.name, self.session, self.sealer = name, LeasedSession(store, name), KeyRingSealer(ring)
        self.locks = OrderLocks(self.session, PATHS, name)

    def come_back(self) -> None:
        """With a new lease, after a pause."""
        self.session.lease = self.session.grant(LEASE)
