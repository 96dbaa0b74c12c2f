"""This node's side of a change of the cluster's key: it takes its copy, seals with it once all have it, drops the old.

A node that was away goes the same way at its next sync. Keys only ever move forward: an old `meta`, which anybody who
can write to the engine may show again, brings no key back into force. Used by the thread that follows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from certstore.cluster.engine import Item, ModifiedAt
from certstore.cluster.key_copies import open_copy
from certstore.cluster.keys import KeyRing, KeysUnusable, update_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.health import ClusterProblem
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Meta
from certstore.model.cluster.wire import Refused

logger = logging.getLogger(__name__)

_MOST_COPIES = 256


class KeyUpdates:
    """`sealer` seals with the ring that is in force from now on."""

    def __init__(self, sealer: KeyRingSealer, key_file: Path) -> None:
        self._sealer = sealer
        self._key_file = key_file
        self._paths = ClusterPaths(sealer.ring.cluster)
        self._copies: dict[str, bytes] = {}
        self._meta: bytes | None = None
        self._meta_modified = 0
        self._unwritten: str | None = None
        self._is_unfinished = False
        self.exposed_before: datetime | None = None
        """Keys that were made before were known to a node that was stolen."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Those that this node has; it seals with the first."""
        return self._sealer.ring.in_force

    def fence(self) -> tuple[ModifiedAt, ...]:
        """What a write that waits for no other node has to compare: a node that was paused while the key was changed
        would seal with one that has been retired, and nobody could read that.
        """
        return (ModifiedAt(self._paths.meta, self._meta_modified),) if self._meta is not None else ()

    def read(self, items: Iterable[Item]) -> bool:
        """Everything below `n/`, and `meta`: as `take`."""
        self._copies, self._meta = {}, None
        return self.take(items)

    def take(self, items: Iterable[Item]) -> bool:
        """What the feed shows. Whether this node's keys have changed."""
        is_news = False
        for item in items:
            where = self._paths.parse(item.key)
            if where is None:
                continue
            if where.shelf is Shelf.META:
                self._meta, self._meta_modified, is_news = item.value, item.modified, True
            elif where.shelf is Shelf.KEY and where.name == self._sealer.ring.node and len(self._copies) < _MOST_COPIES:
                self._copies[where.parts[0]], is_news = item.value, True
        if not is_news:
            return False
        before = self._sealer.ring
        ring = self._advanced(before)
        shown = _meta(ring, self._paths.meta, self._meta) if self._meta is not None else None
        if shown is not None:
            self._is_unfinished = len(shown.key_ids) > 1
            self.exposed_before = _later(self.exposed_before, shown.exposed_before)
        if ring == before:
            return False
        self._sealer.use(ring)
        self._write()
        logger.info("cluster: this node seals with key %s; it has %s", ring.current, ", ".join(ring.in_force))
        return True

    def problems(self) -> list[tuple[str, str]]:
        found = []
        if self._is_unfinished:
            message = "the cluster's key is being changed: if nobody is at it, certedge cluster rotate-key goes on"
            found.append((ClusterProblem.KEY_ROTATION.value, message))
        if self._unwritten is not None:
            found.append((ClusterProblem.KEY_MISSING.value, self._unwritten))
        return found

    def _advanced(self, ring: KeyRing) -> KeyRing:
        return advanced(ring, self._copies, self._paths.meta, self._meta)

    def _write(self) -> None:
        """Where the file can't be written, as a credential of the service, the copies in the engine are enough."""
        try:
            update_keys(self._key_file, self._advanced)
            self._unwritten = None
        except (OSError, KeysUnusable) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._unwritten = f"the cluster's new key can't be kept in {self._key_file}: {reason}"
            logger.error("cluster: %s", self._unwritten)


def advanced(ring: KeyRing, copies: Mapping[str, bytes], path: str, meta: bytes | None) -> KeyRing:
    """The ring as `meta` wants it, with keys that `copies` bring. A copy alone brings nothing: whoever had a key before
    it was retired could have left one.
    """
    learned = _with_copies(ring, copies)
    shown = _meta(learned, path, meta) if meta is not None else None
    if shown is None or not shown.key_ids or shown.key_ids[0] not in learned.keys:
        return ring
    ages = list(learned.keys)
    if ages.index(shown.key_ids[0]) < ages.index(ring.current):
        return ring  # it is from before
    gone = [key_id for key_id in (*ring.keys, *shown.retired) if key_id not in shown.key_ids]
    return replace(
        ring,
        current=shown.key_ids[0],
        keys={key_id: key for key_id, key in learned.keys.items() if key_id in shown.key_ids},
        retired=tuple(dict.fromkeys((*ring.retired, *gone))),
    )


def _with_copies(ring: KeyRing, copies: Mapping[str, bytes]) -> KeyRing:
    left = {key_id: value for key_id, value in copies.items() if key_id not in ring.keys and key_id not in ring.retired}
    is_learning = True
    while is_learning:  # a copy may be signed with a key that another one brings
        is_learning = False
        for key_id, value in list(left.items()):
            try:
                ring = ring.with_key(open_copy(ring, key_id, value))
            except Refused as error:
                logger.debug("cluster: %s", error)
                continue
            del left[key_id]
            is_learning = True
    return ring


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _meta(ring: KeyRing, path: str, value: bytes) -> Meta | None:
    """None where it does not count, which the sync tells."""
    try:
        return Meta.decode(KeyRingSealer(ring).open(path, value).plaintext)
    except Refused:
        return None
