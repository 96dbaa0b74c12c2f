"""What a cluster needs of the store that its nodes share: consistent reads, conditional writes over several keys,
an ordered feed of changes that can be resumed, and leases.

The engine carries bytes and coordinates; it knows no site and no seal. Every write is conditional, so a request that
the network delivers late or twice fails its compares. One suite (tests/certstore/cluster/engine_contract.py) holds
every implementation to this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

MOST_OPS = 128
"""In one commit, and as many compares: etcd's own limit (`--max-txn-ops`)."""
GET_AT_ONCE = 64
"""Keys in one `get` of records: even if each has the longest value, the answer stays below what a gateway may send."""
MOST_BYTES = 1_000_000
"""Keys and values of one commit. etcd accepts 1.5 MiB with its own framing (`--max-request-bytes`)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A key as the engine has it. `created` is the revision at which it came into being, `modified` its last change."""

    key: str
    value: bytes
    """Empty where only keys were asked for."""
    created: int
    modified: int
    lease: int = 0
    """0: the key belongs to no lease."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Keys at one revision: a feed that begins after `revision` continues exactly here."""

    items: tuple[Item, ...]
    revision: int

    def by_key(self) -> dict[str, Item]:
        return {item.key: item for item in self.items}


@dataclass(frozen=True, slots=True)
class ModifiedAt:
    """The key was last changed at this revision; 0: it does not exist."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class CreatedAt:
    """The key came into being at this revision, however often it changed since; 0: it does not exist."""

    key: str
    revision: int


type Compare = ModifiedAt | CreatedAt


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key. With a lease, the engine deletes the key when the lease ends."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; a key that does not exist is no error."""

    key: str


type Op = Put | Delete


@dataclass(frozen=True, slots=True)
class Committed:
    """All compares held and all operations are durable; each written key has `modified == revision`."""

    revision: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A compare did not hold: nothing was written. Read, decide again, commit again."""

    revision: int
    """Of the engine when it compared."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request went out and no answer came: it may have been applied, or may be applied later.

    Read back before anything else. Never send the same bytes again without having read.
    """

    reason: str


type Outcome = Committed | Lost | Unknown


def check_commit(compares: Sequence[Compare], ops: Sequence[Op]) -> None:
    """Raises ValueError for what no engine takes, and for a write without a condition."""
    if not compares or not ops:
        raise ValueError("a commit needs at least one compare and one operation")
    if len(compares) > MOST_OPS or len(ops) > MOST_OPS:
        raise ValueError(f"more than {MOST_OPS} compares or operations in one commit")
    if len({op.key for op in ops}) < len(ops):
        raise ValueError("a commit names a key twice")
    size = sum(len(op.key) + (len(op.value) if isinstance(op, Put) else 0) for op in ops)
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes in one commit: the limit is {MOST_BYTES}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one revision changed under the prefix; with nothing in it, the feed has come to this revision."""

    revision: int
    put: tuple[Item, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One member of the engine as it sees itself."""

    cluster: str
    """The engine's identity, hexadecimal. It survives a restore, so it does not show one."""
    member: str
    leader: str
    """Empty while the member knows none."""
    version: str
    revision: int
    used_bytes: int
    alarms: tuple[str, ...] = ()
    """Such as NOSPACE: writes are refused until somebody makes room."""


class EngineFailed(Exception):
    """Base of what an engine raises. The message names the member, what was attempted and the answer."""


class EngineLost(EngineFailed):
    """The engine can't be reached or has no leader. Nothing was written; try again, perhaps at another member."""


class EngineFull(EngineFailed):
    """The engine's quota is used up: it takes no new values and no new leases until somebody makes room."""


class EngineRefused(EngineFailed):
    """The engine understood and refused: sign-in, permission, or a request that it can't accept. Don't repeat it."""


class LeaseGone(EngineFailed):
    """The lease has ended, and its keys with it."""


class HistoryLost(EngineFailed):
    """The feed can't continue from where it was asked to. Read everything, and follow from that reading's revision."""


class Compacted(HistoryLost):
    """The changes asked for were compacted away."""


class WentBack(HistoryLost):
    """The engine is at an older revision than one that it had: it was restored from a snapshot, or is another one."""


class Following(Protocol):
    """A feed of changes. Used by one thread; `close` may be called from any."""

    def next(self, timeout: float) -> Batch | None:
        """The next batch in order of revision, or None if none came within `timeout` seconds (0: don't wait).

        A revision is never split over two batches, repeated or left out. Raises Compacted or WentBack if changes are
        missing, EngineLost or EngineRefused if the feed broke; after that, and after `close`, follow anew.
        """

    def close(self) -> None:
        """End the feed; a waiting `next` raises EngineLost soon. Closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """Thread-safe. Every call ends within a bounded time, and raises EngineLost when the engine can't answer in it."""

    endpoint: str
    """Where it is, for people."""

    def read(self, prefix: str, *, keys_only: bool = False) -> Reading:
        """All keys that begin with `prefix`, in order, at one revision. Linearizable: never older than the last commit.

        Raises EngineLost, EngineRefused.
        """

    def get(self, keys: Sequence[str]) -> Reading:
        """Those of the keys that exist, at one revision, in the order given. At most MOST_OPS of them.

        Raises EngineLost, EngineRefused.
        """

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        """If every compare holds, apply all operations at one revision.

        A put under a lease that has ended raises LeaseGone and writes nothing. Raises ValueError for more than MOST_OPS
        or MOST_BYTES, for a key twice, and for no compare at all; EngineLost only if nothing can have been written;
        EngineFull, EngineRefused.
        """

    def follow(self, prefix: str, after: int) -> Following:
        """Changes under `prefix` from revision `after` + 1 on.

        Raises EngineLost, EngineRefused; what else can be wrong shows at `next`.
        """

    def grant(self, ttl: timedelta) -> int:
        """A new lease, whole seconds. Raises EngineFull, EngineLost (a lease made all the same ends by itself)."""

    def keep(self, lease: int) -> timedelta:
        """Prolong it to its full time, which is returned. Raises LeaseGone, EngineLost."""

    def revoke(self, lease: int) -> None:
        """End it, and delete its keys. A lease that has ended is no error. Raises EngineLost."""

    def status(self) -> EngineStatus:
        """Ask the member, without a quorum. Raises EngineLost, EngineRefused."""

    def abandon(self) -> None:
        """End the requests that are under way, from another thread: they raise EngineLost, or are Unknown, soon."""

    def close(self) -> None:
        """Close connections and feeds. Nothing else may be called afterwards."""
