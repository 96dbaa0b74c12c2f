"""Nodes that share an engine in memory: each with a store of its own, driven step by step.

nodes = Nodes(tmp_path, "edge-a", "edge-b")
nodes["edge-a"].install(SITE, ca.issue(SITE))
nodes.settle()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from certstore.cluster.engine import EngineFailed, EngineLost, ModifiedAt, Put
from certstore.cluster.first_sync import ForeignEngine, Synced
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.known_members import KnownMember
from certstore.cluster.membership import Membership, Place
from certstore.cluster.replica import Replica
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import Member, Meta, Role
from certstore.model.cluster.wire import RecordClass
from certstore.model.settings.models import SiteSettings
from certstore.store.adoption import Removed
from certstore.store.writer import StoreWriter
from tests.certificates import Issued
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryFollowing, MemoryStore
from tests.certstore.stores import acquire

type Served = dict[str, tuple[str | None, tuple[str, ...], str]]
"""By site: the digest of what is live, the names that it owns, its settings."""


class Node:
    """One node; `restart` opens its store again, as a start of control does."""

    def __init__(self, root: Path, store: MemoryStore, ring: KeyRing, *, only: tuple[str, ...] = ()) -> None:
        self.name, self._root, self._ring, self._only = ring.node, root, ring, only
        self.engine = MemoryEngine(store, ring.node)
        self.feed: MemoryFollowing | None = None
        self._open()

    def _open(self) -> None:
        self.writer: StoreWriter = acquire(self._root, main_host="main.test")
        paths, sealer = ClusterPaths(self._ring.cluster), KeyRingSealer(self._ring)
        is_front = self._ring.role is Role.FRONT
        self.replica = Replica(self.engine, self.writer, sealer, paths, self.name, only=self._only, is_front=is_front)

    def restart(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self.detach()
        self.replica.close()
        self.writer.close()

    def detach(self) -> None:
        if self.feed is not None:
            self.feed.close()
            self.feed = None

    def attach(self, *, is_rebuild: bool = False) -> Synced:
        """Raises EngineFailed, ForeignEngine."""
        self.detach()
        synced = self.replica.sync(is_rebuild=is_rebuild)
        self.feed = self.engine.follow(ClusterPaths(self._ring.cluster).prefix, synced.revision)
        return synced

    def step(self) -> bool:
        """Publish, and take one batch; whether there was one. Attaches again where the feed broke."""
        try:
            if self.feed is None:
                self.attach()
            assert self.feed is not None
            self.replica.publish()
            batch = self.feed.next(0)
        except (EngineFailed, ForeignEngine):
            self.detach()
            return False
        if batch is not None:
            self.replica.take([batch])
        return batch is not None

    def install(self, site: str, issued: Issued, *, source: str = "drop", doing: str = "intake") -> None:
        files = [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]
        self.writer.install_files(site, files, source=source, doing=doing)

    def add(self, site: str, *more: str) -> None:
        self.writer.add_site(site, SiteSettings(host=site, additional_names=more))

    def served(self, *, only: tuple[str, ...] = ()) -> Served:
        found: Served = {}
        for site in self.writer.sites():
            if not only or site in only:
                settings, entry = self.writer.settings(site), self.writer.site(site)
                text = settings.model_dump_json(exclude_defaults=True) if settings is not None else entry.host
                found[site] = (self.replica.local.head_digest(site), entry.names, text)
        return found

    def is_removed(self, site: str) -> bool:
        return isinstance(self.writer.declaration(site), Removed)

    def floors(self) -> dict[str, int]:
        agreed = self.replica.agreed
        return {path: known.generation for path in agreed if (known := agreed.get(path)) is not None}


class Nodes(dict[str, Node]):
    """All nodes of one cluster, by name."""

    def __init__(self, folder: Path, *names: str, front: str | None = None, is_running: bool = True) -> None:
        super().__init__()
        self.folder, self.store = folder, MemoryStore()
        self.ring = KeyRing.draw(names[0])
        self.paths = ClusterPaths(self.ring.cluster)
        self.write_meta()
        for name in names if is_running else ():
            self.join(name, Role.FRONT if name == front else Role.EDGE)

    def write_meta(self) -> None:
        meta = Meta(self.ring.cluster, datetime.now(UTC), (self.ring.current,))
        value = KeyRingSealer(self.ring).seal(self.paths.meta, 1, RecordClass.SITES, meta.encode())
        MemoryEngine(self.store).commit([ModifiedAt(self.paths.meta, 0)], [Put(self.paths.meta, value)])

    def write_member(self, ring: KeyRing) -> None:
        """As an invitation does."""
        own, path = ring.own, self.paths.member(ring.node)
        member = Member(ring.node, ring.role, own.exchange_public, own.sign_public, self.ring.node, datetime.now(UTC))
        value = KeyRingSealer(self.ring).seal(path, 1, RecordClass.SITES, member.encode())
        MemoryEngine(self.store).commit([ModifiedAt(path, 0)], [Put(path, value)])

    def put_back_of(self, ring: KeyRing, known: Mapping[str, KnownMember] = {}) -> Callable[[bool], None]:
        membership = Membership(MemoryEngine(self.store), ring, known)
        return lambda has_meta: membership.put_back(Place(), datetime.now(UTC), has_meta=has_meta)

    def join(self, name: str, role: Role = Role.EDGE, *, only: tuple[str, ...] = ()) -> Node:
        ring = self.ring if name == self.ring.node else self.ring.for_member(name, role, NodeKeys.draw())
        self.write_member(ring)
        self[name] = Node(self.folder / name, self.store, ring, only=only)
        return self[name]

    def settle(self, *, is_rebuild: bool = False) -> None:
        """Run all nodes until nothing moves, everything reachable."""
        for node in self.values():
            node.engine.faults.is_cut = node.engine.faults.is_silent = False
            node.engine.faults.hold_requests = node.engine.faults.lose_replies = 0
        self.store.deliver_late()
        for _ in range(4):
            for node in self.values():
                with contextlib.suppress(EngineLost):
                    node.attach(is_rebuild=is_rebuild)
            for _ in range(200):
                before = self.store.revision
                took = [node.step() for node in self.values()]
                if not any(took) and self.store.revision == before:
                    break
            else:
                raise AssertionError("the nodes never come to rest: they keep overwriting each other")

    def close(self) -> None:
        for node in self.values():
            node.close()

    @contextlib.contextmanager
    def closing(self) -> Iterator[Nodes]:
        try:
            yield self
        finally:
            self.close()
