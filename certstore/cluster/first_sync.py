"""Compares everything that the engine holds with what this node has seen: at each attachment, and now and then.

Only records that changed are read. What the engine has lost is written again if it is little; where much is missing, a
person has to look first, as it may be another engine or an emptied one. Nothing that the engine lacks is ever removed
here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched

from certstore.cluster.agreed import AgreedState
from certstore.cluster.engine import GET_AT_ONCE, Engine, Item, Reading
from certstore.cluster.follower import AT_ONCE, Follower
from certstore.cluster.local_records import LocalRecords
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.health import last_changes
from certstore.model.cluster.merge import may_put_back
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Meta
from certstore.model.cluster.wire import Refused
from certstore.model.snapshot import MAIN

logger = logging.getLogger(__name__)

_ORDER = (Shelf.SITE, Shelf.PREV, Shelf.HEAD)


class ForeignEngine(Exception):
    """The engine does not hold this cluster: nothing may be written to it. The message says what was found."""


@dataclass(frozen=True, slots=True)
class Synced:
    """`revision` is that of the engine then; `read` how many records were read; `missing` those that it has lost and
    that were not put back. `changed` has for each site the revision of its last change.
    """

    revision: int
    read: int
    changed: dict[str, int]
    missing: tuple[str, ...] = ()


class FirstSync:
    """Used by one thread. `tell` is told how many of how many records have been adopted."""

    def __init__(
        self,
        engine: Engine,
        local: LocalRecords,
        agreed: AgreedState,
        sealer: Sealer,
        paths: ClusterPaths,
        follower: Follower,
    ) -> None:
        self._engine = engine
        self._local = local
        self._agreed = agreed
        self._sealer = sealer
        self._paths = paths
        self._follower = follower
        self._is_first = True

    def run(self, tell: Callable[[int, int], None] = lambda _done, _all: None, *, is_rebuild: bool = False) -> Synced:
        """With `is_rebuild`, a person has looked: what is missing is written again, however much it is. Raises
        ForeignEngine, EngineFailed.
        """
        reading = self._engine.read(self._paths.prefix, keys_only=True)
        self._check_meta()
        self._agreed.belong_to(self._paths.cluster)
        wanted = self._changed(reading)
        self._is_first = False
        self._follower.is_incomplete = False
        done = 0
        for keys in batched(wanted, AT_ONCE):
            self._follower.take(self._read(keys))
            done += len(keys)
            tell(done, len(wanted))
        missing = self._restore_missing({item.key for item in reading.items}, is_rebuild=is_rebuild)
        self._agreed.sync()
        changed = last_changes(self._paths, ((item.key, item.modified) for item in reading.items))
        return Synced(reading.revision, len(wanted), changed, missing)

    def _check_meta(self) -> None:
        key = self._paths.meta
        items = self._engine.get([key]).items
        if not items:
            raise ForeignEngine(
                f"the engine holds no cluster {self._paths.cluster}: it was emptied, or is another one; this node goes "
                "on serving what it has"
            )
        try:
            meta = Meta.decode(self._sealer.open(key, items[0].value).plaintext)
        except Refused as error:
            raise ForeignEngine(f"this node can't read what the engine says about the cluster: {error}") from None
        if meta.cluster != self._paths.cluster:
            raise ForeignEngine(f"the engine holds cluster {meta.cluster}, and this node belongs to another one")

    def _changed(self, reading: Reading) -> list[str]:
        """The keys to read: all of main's first, as all listeners need its certificate, then sites before versions."""
        found: list[tuple[bool, int, str]] = []
        for item in reading.items:
            where = self._paths.parse(item.key)
            if where is None or not self._follower.follows(item.key):
                continue
            known = self._agreed.get(item.key.removeprefix(self._paths.prefix))
            is_seen = known is not None and known.modified == item.modified and known.instead is None
            if not is_seen or (self._is_first and where.shelf is Shelf.HEAD and self._local.is_repair(where.name)):
                found.append((where.name != MAIN, _ORDER.index(where.shelf), item.key))
        return [self._paths.seq, *(key for _, _, key in sorted(found))]

    def _read(self, keys: Sequence[str]) -> list[Item]:
        items: list[Item] = []
        for some in batched(keys, GET_AT_ONCE):
            items += self._engine.get(some).items
        return items

    def _restore_missing(self, there: set[str], *, is_rebuild: bool) -> tuple[str, ...]:
        """What this node has and the engine has not. Returns what a person has to look at first."""
        known = [path for path in self._agreed if self._follower.follows(self._paths.prefix + path)]
        missing = [path for path in known if self._paths.prefix + path not in there and self._has(path)]
        is_little = is_rebuild or may_put_back(len(missing), len(known))
        for path in known:
            agreement = self._agreed.get(path)
            if agreement is None or self._paths.prefix + path in there:
                continue
            if is_restored := is_little and path in missing:
                logger.warning("the engine has lost %s; this node writes it again", path)
                self._follower.went_back.note(path, self._local.now())
            self._agreed.put(path, replace(agreement, modified=0, is_to_restore=is_restored))
        return () if is_little else tuple(missing)

    def _has(self, path: str) -> bool:
        """Whether this node's store has the record. A predecessor is not worth being put back."""
        where, agreement = self._paths.parse(self._paths.prefix + path), self._agreed.get(path)
        if where is None or agreement is None or where.shelf is Shelf.PREV:
            return False
        if where.shelf is Shelf.HEAD:
            return self._local.head_digest(where.name) == agreement.digest
        record = self._local.site(where.name)
        return record is not None and record.digest == agreement.digest
