"""Locks in the engine, one for each site that is ordered for and each CA whose account is changed: `n/lock/NAME`.

A lock lies under the lease of its node, so it goes when the node dies or loses the engine. That alone keeps nobody from
writing who was paused meanwhile and does not know it: every write of a holder therefore compares the revision at which
its lock came into being, its `fence`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from certstore.cluster.engine import Committed, CreatedAt, Delete, Engine, EngineFailed, ModifiedAt, Op, Put, Unknown
from certstore.model.cluster.paths import ClusterPaths

logger = logging.getLogger(__name__)

_ROUNDS = 3
"""How often a lock that is let go at the same moment is tried."""


class LeasedEngine(Engine, Protocol):
    @property
    def lease(self) -> int: ...


class LockHeld(Exception):
    """Another node has the lock; the message is its name."""


class OrderLocks:
    """The locks of one node. Thread-safe; within the node, the caller lets only one thread ask for a name."""

    def __init__(self, session: LeasedEngine, paths: ClusterPaths, node: str) -> None:
        self._session, self._paths, self._node = session, paths, node
        self._lock = threading.Lock()
        self._letting_go = threading.Lock()
        """A lock that is taken again must not be let go meanwhile."""
        self._fences: dict[str, CreatedAt] = {}
        self._left: dict[str, tuple[CreatedAt, tuple[Op, ...]]] = {}
        """Let go, but the engine did not say that it heard."""

    def take(self, name: str) -> CreatedAt:
        """Raises LockHeld, EngineFailed."""
        with self._letting_go:
            return self._take(name)

    def _take(self, name: str) -> CreatedAt:
        key = self._paths.lock(name)
        holder = self._node
        for _ in range(_ROUNDS):
            lease = self._session.lease
            outcome = self._session.commit([ModifiedAt(key, 0)], [Put(key, self._node.encode(), lease)])
            if isinstance(outcome, Committed):
                return self._held(name, CreatedAt(key, outcome.revision))
            found = self._session.get([key]).by_key().get(key)
            if found is None:
                continue
            if found.lease == lease:  # put by a request whose answer was lost
                return self._held(name, CreatedAt(key, found.created))
            holder = found.value.decode("ascii", "replace")[:63]
            break
        raise LockHeld(holder)

    def fence(self, name: str) -> CreatedAt | None:
        """What a write of the holder has to compare; None where this node does not hold the lock."""
        with self._lock:
            return self._fences.get(name)

    def release(self, name: str, ops: Sequence[Op] = ()) -> bool:
        """With what has to be written while the lock still holds: False where that was not written. Without the engine
        the lock goes with its lease, or with `sweep`.
        """
        with self._lock:
            fence = self._fences.pop(name, None)
        if fence is None:
            return False
        with suppress(EngineFailed):
            outcome = self._session.commit([fence], [*ops, Delete(fence.key)])
            if not isinstance(outcome, Unknown):
                return isinstance(outcome, Committed)
        with self._lock:
            self._left[name] = fence, tuple(ops)
        return False

    def sweep(self) -> None:
        """Let go what a lost answer has left: its lease may live as long as this node, and nobody else could order."""
        while self._left:
            with self._letting_go:
                with self._lock:
                    name, (fence, ops) = next(iter(self._left.items()), ("", (None, ())))
                if fence is None:
                    return
                try:
                    outcome = self._session.commit([fence], [*ops, Delete(fence.key)])
                except EngineFailed:
                    return
                if isinstance(outcome, Unknown):
                    return
                with self._lock:
                    self._left.pop(name, None)

    def _held(self, name: str, fence: CreatedAt) -> CreatedAt:
        with self._lock:
            self._fences[name] = fence
            self._left.pop(name, None)
        return fence
