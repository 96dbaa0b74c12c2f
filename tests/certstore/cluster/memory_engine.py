"""An engine in memory, for tests that need thousands of steps or faults that real servers produce only by luck.

`MemoryStore` is what the nodes share; each node has its own `MemoryEngine`, whose faults it can be given one by one.
Leases run on a clock that the test moves. The contract suite holds it to the same page as etcd.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from certstore.cluster.engine import (
    Batch,
    Committed,
    Compacted,
    Compare,
    CreatedAt,
    Delete,
    EngineFull,
    EngineLost,
    EngineStatus,
    Item,
    LeaseGone,
    Lost,
    Op,
    Outcome,
    Put,
    Reading,
    Unknown,
    WentBack,
    check_commit,
)


@dataclass(slots=True)
class _Lease:
    ttl: timedelta
    ends: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a backup of the engine holds. Leases are in it, as in etcd's."""

    items: dict[str, Item]
    revision: int
    leases: dict[int, timedelta]


@dataclass(slots=True)
class _Late:
    compares: tuple[Compare, ...]
    ops: tuple[Op, ...]


class MemoryStore:
    """What all nodes share. Thread-safe; `clock` gives seconds and moves leases only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed = threading.Condition()
        self.clock = clock
        self.items: dict[str, Item] = {}
        self.revision = 1
        self.is_full = False
        self.incarnation = 0
        """Raised by a restore: feeds that were open break."""
        self.compacted = 0
        """Changes up to this revision can't be followed."""
        self.late: list[_Late] = []
        """Requests that the network still holds."""
        self._history: list[Batch] = []
        self._leases: dict[int, _Lease] = {}
        self._lease_ids = itertools.count(1001)

    def apply(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Committed | Lost:
        with self.changed:
            self.end_leases()
            if self.is_full and any(isinstance(op, Put) for op in ops):
                raise EngineFull("memory: database space exceeded")
            if not all(self._holds(compare) for compare in compares):
                return Lost(self.revision)
            if any(isinstance(op, Put) and op.lease and op.lease not in self._leases for op in ops):
                raise LeaseGone("memory: requested lease not found")
            return Committed(self._write(ops))

    def read(self, wanted: Callable[[str], bool], *, keys_only: bool = False) -> Reading:
        with self.changed:
            self.end_leases()
            found = (self.items[key] for key in sorted(self.items) if wanted(key))
            if keys_only:
                found = (Item(item.key, b"", item.created, item.modified, item.lease) for item in found)
            return Reading(tuple(found), self.revision)

    def after(self, revision: int) -> list[Batch]:
        """Call with `changed` held."""
        self.end_leases()
        return [batch for batch in self._history if batch.revision > revision]

    def deliver_late(self) -> list[Outcome | None]:
        """What the network held arrives now. The outcomes are for the test: nobody else gets them."""
        waiting, self.late = self.late, []
        outcomes: list[Outcome | None] = []
        for request in waiting:
            try:
                outcomes.append(self.apply(request.compares, request.ops))
            except (EngineFull, LeaseGone):
                outcomes.append(None)
        return outcomes

    def compact(self) -> None:
        """Forget all history, as an administrator or the engine's own timer does."""
        with self.changed:
            self.compacted = self.revision
            self._history.clear()
            self.changed.notify_all()

    def snapshot(self) -> Snapshot:
        with self.changed:
            leases = {number: lease.ttl for number, lease in self._leases.items()}
            return Snapshot(dict(self.items), self.revision, leases)

    def restore(self, snapshot: Snapshot) -> None:
        """Back to the snapshot and its revision. Leases start their time again; history is gone."""
        with self.changed:
            self.items, self.revision = dict(snapshot.items), snapshot.revision
            self._leases = {
                number: _Lease(ttl, self.clock() + ttl.total_seconds()) for number, ttl in snapshot.leases.items()
            }
            self._history.clear()
            self.compacted = snapshot.revision
            self.incarnation += 1
            self.changed.notify_all()

    def empty(self) -> None:
        """A new engine under the old addresses."""
        self.restore(Snapshot({}, 1, {}))

    def grant(self, ttl: timedelta) -> int:
        with self.changed:
            if self.is_full:
                raise EngineFull("memory: database space exceeded")
            number = next(self._lease_ids)
            self._leases[number] = _Lease(ttl, self.clock() + ttl.total_seconds())
            return number

    def keep(self, number: int) -> timedelta:
        with self.changed:
            self.end_leases()
            lease = self._leases.get(number)
            if lease is None:
                raise LeaseGone("memory: requested lease not found")
            lease.ends = self.clock() + lease.ttl.total_seconds()
            return lease.ttl

    def revoke(self, number: int) -> None:
        with self.changed:
            if self._leases.pop(number, None) is not None:
                self._delete_of_lease(number)

    def end_leases(self) -> None:
        """End those whose time is over. Call with `changed` held."""
        now = self.clock()
        for number in [number for number, lease in self._leases.items() if lease.ends <= now]:
            del self._leases[number]
            self._delete_of_lease(number)

    def _delete_of_lease(self, number: int) -> None:
        keys = [key for key, item in self.items.items() if item.lease == number]
        if keys:
            self._write([Delete(key) for key in keys])

    def _holds(self, compare: Compare) -> bool:
        item = self.items.get(compare.key)
        if isinstance(compare, CreatedAt):
            return compare.revision == (item.created if item else 0)
        return compare.revision == (item.modified if item else 0)

    def _write(self, ops: Sequence[Op]) -> int:
        """As in etcd, a commit that changes nothing raises no revision."""
        revision = self.revision + 1
        put: list[Item] = []
        deleted: list[str] = []
        for op in ops:
            if isinstance(op, Put):
                before = self.items.get(op.key)
                item = Item(op.key, op.value, before.created if before else revision, revision, op.lease)
                self.items[op.key] = item
                put.append(item)
            elif self.items.pop(op.key, None) is not None:
                deleted.append(op.key)
        if put or deleted:
            self.revision = revision
            self._history.append(Batch(revision, tuple(put), tuple(deleted)))
            self.changed.notify_all()
        return self.revision


@dataclass(slots=True)
class Faults:
    """Of one node's way to the engine. Counts are used up, one request each; flags stand until they are taken away."""

    is_cut: bool = False
    """Nothing arrives; whoever asks notices."""
    is_silent: bool = False
    """Requests fail, but an open feed shows nothing: a paused member."""
    lose_replies: int = 0
    """Commits that are applied and not answered."""
    hold_requests: int = 0
    """Commits that are not answered and wait in `MemoryStore.late`."""
    repeat_requests: int = 0
    """Commits that are answered, and arrive once more with `MemoryStore.deliver_late`."""


class MemoryEngine:
    """One node's way to the store."""

    def __init__(self, store: MemoryStore, name: str = "memory") -> None:
        self.store = store
        self.name = self.endpoint = name
        self.faults = Faults()
        self._is_closed = False

    def read(self, prefix: str, *, keys_only: bool = False) -> Reading:
        self._reach()
        return self.store.read(lambda key: key.startswith(prefix), keys_only=keys_only)

    def get(self, keys: Sequence[str]) -> Reading:
        self._reach()
        reading = self.store.read(set(keys).__contains__)
        found = reading.by_key()
        return Reading(tuple(found[key] for key in keys if key in found), reading.revision)

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        check_commit(compares, ops)
        self._reach()
        request = _Late(tuple(compares), tuple(ops))
        if self.faults.hold_requests:
            self.faults.hold_requests -= 1
            self.store.late.append(request)
            return Unknown(f"{self.name}: no answer")
        if self.faults.repeat_requests:
            self.faults.repeat_requests -= 1
            self.store.late.append(request)
        outcome = self.store.apply(compares, ops)
        if self.faults.lose_replies:
            self.faults.lose_replies -= 1
            return Unknown(f"{self.name}: no answer")
        return outcome

    def follow(self, prefix: str, after: int) -> MemoryFollowing:
        self._reach()
        return MemoryFollowing(self, prefix, after)

    def grant(self, ttl: timedelta) -> int:
        self._reach()
        return self.store.grant(ttl)

    def keep(self, lease: int) -> timedelta:
        self._reach()
        return self.store.keep(lease)

    def revoke(self, lease: int) -> None:
        self._reach()
        self.store.revoke(lease)

    def status(self) -> EngineStatus:
        self._reach()
        used = sum(len(key) + len(item.value) for key, item in self.store.items.items())
        alarms = ("NOSPACE",) if self.store.is_full else ()
        return EngineStatus("cafe", self.name, self.name, "3.4", self.store.revision, used, alarms)

    def abandon(self) -> None:
        """No request here waits."""

    def close(self) -> None:
        self._is_closed = True
        with self.store.changed:
            self.store.changed.notify_all()

    @property
    def is_gone(self) -> bool:
        """Whether an open feed notices that its engine is away."""
        return self._is_closed or self.faults.is_cut

    def _reach(self) -> None:
        if self._is_closed or self.faults.is_cut or self.faults.is_silent:
            raise EngineLost(f"{self.name}: can't be reached")


class MemoryFollowing:
    """A feed of one `MemoryEngine`."""

    def __init__(self, engine: MemoryEngine, prefix: str, after: int) -> None:
        self._engine = engine
        self._store = engine.store
        self._prefix = prefix
        self._after = after
        self._incarnation = engine.store.incarnation
        self._is_closed = False

    def next(self, timeout: float) -> Batch | None:
        until = time.monotonic() + timeout
        with self._store.changed:
            while (batch := self._take()) is None:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._store.changed.wait(min(left, 0.05))  # a fault or a lease that ends wakes nobody
            return batch

    def close(self) -> None:
        self._is_closed = True
        with self._store.changed:
            self._store.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> Batch | None:
        name = self._engine.name
        if self._is_closed or self._engine.is_gone or self._incarnation != self._store.incarnation:
            raise EngineLost(f"{name}: the feed broke")
        if self._engine.faults.is_silent:
            return None
        if self._after > self._store.revision:
            raise WentBack(f"{name}: at revision {self._store.revision}, asked for what follows {self._after}")
        if self._after < self._store.compacted:
            raise Compacted(f"{name}: changes up to {self._store.compacted} were compacted away")
        for batch in self._store.after(self._after):
            self._after = batch.revision
            put = tuple(item for item in batch.put if item.key.startswith(self._prefix))
            deleted = tuple(key for key in batch.deleted if key.startswith(self._prefix))
            if put or deleted:
                return Batch(batch.revision, put, deleted)
        return None
