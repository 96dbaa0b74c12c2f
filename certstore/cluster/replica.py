"""Keeps one store in step with the engine: compares all, takes what comes, publishes what changed here.

The three steps of a node, for one thread to call; whoever calls them decides when, and what a failure means. Which site
changed may be noted from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from certstore.cluster.agreed import AgreedState
from certstore.cluster.engine import Batch, Compare, CreatedAt, Engine
from certstore.cluster.first_sync import FirstSync, Synced
from certstore.cluster.follower import Follower
from certstore.cluster.local_records import LocalRecords
from certstore.cluster.publisher import Publisher
from certstore.cluster.sealing import Sealer
from certstore.files.clock import utc_now
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import heads_digest
from certstore.model.version import Version
from certstore.store.writer import StoreWriter


class Replica:
    """`only` are the sites that this node keeps, empty: all. A front publishes nothing."""

    def __init__(
        self,
        engine: Engine,
        writer: StoreWriter,
        sealer: Sealer,
        paths: ClusterPaths,
        node: str,
        *,
        only: tuple[str, ...] = (),
        is_front: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keeps: Callable[[str], bool] = (lambda site: site in only) if only else (lambda _: True)
        self._is_front = is_front
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._stale: set[str] = set()
        self._heads: dict[str, str | None] = {}
        """The digest of what each site serves, but for those in `_stale`."""
        self._said: tuple[str, int] | None = None
        self._woken = threading.Event()
        self.local = LocalRecords(writer, node, clock)
        self.agreed = AgreedState(writer.layout)
        self.follower = Follower(writer, self.local, self.agreed, sealer, paths, self._keeps)
        self._publisher = Publisher(engine, writer, self.local, self.agreed, sealer, paths, self.follower, self._keeps)
        self._sync = FirstSync(engine, self.local, self.agreed, sealer, paths, self.follower)
        writer.subscribe(self.note)

    def note(self, site: str) -> None:
        """The site changed here. From any thread."""
        with self._lock:
            self._changed.add(site)
            self._stale.add(site)
        self._woken.set()

    def wait(self, timeout: float) -> None:
        """Until something changes here, or `wake`."""
        self._woken.wait(timeout)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def publish_only_while(self, conditions: Callable[[], Sequence[Compare]]) -> None:
        """What is published from now on is so only where these hold in the engine."""
        self._publisher.conditions = conditions

    @property
    def has_changes(self) -> bool:
        return bool(self._changed)

    def sync(self, tell: Callable[[int, int], None] = lambda _done, _all: None, *, is_rebuild: bool = False) -> Synced:
        """Compare everything, and find what a kill or a lost engine left unpublished. Raises ForeignEngine,
        EngineFailed.
        """
        synced = self._sync.run(tell, is_rebuild=is_rebuild)
        self._publisher.revision = 0  # the engine may have gone back, and counts from there
        self._note_all()
        return synced

    def take(self, batches: Iterable[Batch]) -> None:
        """What a feed shows: of several batches, only what each key holds at the end."""
        items = {item.key: item for batch in batches for item in batch.put}
        self.follower.take(items.values(), is_feed=True)
        for item in items.values():
            if self.follower.follows(item.key):
                self.note(item.key.rpartition("/")[2])

    def publish(self) -> None:
        """Publish what changed here. Raises EngineFailed; then it is published with the next call."""
        with self._lock:
            sites, self._changed = self._changed, set()
        if self._is_front:
            return
        try:
            left = self._publisher.publish(sorted(sites))
        except BaseException:
            with self._lock:
                self._changed |= sites
            raise
        with self._lock:
            self._changed |= left

    def publish_order(self, version: Version, fence: CreatedAt) -> str | None:
        """As `Publisher.publish_order`."""
        if self._is_front:
            return "this node is a front"
        return self._publisher.publish_order(version, fence)

    @property
    def published(self) -> int:
        """The engine's revision with the latest change of this node."""
        return self._publisher.revision

    def unpublished(self) -> list[str]:
        """The sites of which the cluster has yet to know something."""
        with self._lock:
            sites, self._changed = self._changed, set()
        dirty = sites  # should the look fail
        try:
            if not self._is_front:
                dirty = {site for site in sites if self._publisher.is_dirty(site)}
        finally:
            with self._lock:
                # A node that is cut off asks every few seconds: of 10,000 sites, only those few are looked at again.
                self._changed |= dirty
        return [] if self._is_front else sorted(dirty)

    def heads(self) -> tuple[str, int]:
        """One digest for all live versions that this node keeps, and how many sites it has."""
        with self._lock:
            stale, self._stale = self._stale, set()
        for site in filter(self._keeps, stale):
            self._heads[site] = self.local.head_digest(site)
        if stale or self._said is None:
            served = {site: digest for site, digest in self._heads.items() if digest is not None}
            self._said = heads_digest(served), len(served)
        return self._said

    def close(self) -> None:
        self.agreed.close()

    def _note_all(self) -> None:
        # The writer calls `note` under its own lock, so nothing may be asked of it under this one.
        sites = {site for site in self.local.sites() if self._keeps(site)}
        with self._lock:
            self._changed |= sites
            self._stale |= sites
