"""Changes the cluster's key, and seals all records anew.

    1  the new key goes to every member, and `meta` names it           (old, new)
    2  once every node that lives has it, `meta` lets it seal          (new, old)
    3  once they all seal with it, every record is sealed anew
    4  once nothing is left under the old key, `meta` retires it       (new)

`meta` is the one state of it, changed by conditional transactions: a kill at any point leaves a step that whoever
begins again, on any full node, goes on with. A record keeps its generation and its content, so no node takes one for a
change; each is replaced only as it was read, so nothing that changes meanwhile is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched
from pathlib import Path

from certstore.cluster.engine import (
    GET_AT_ONCE,
    MOST_BYTES,
    Committed,
    Compare,
    Delete,
    Engine,
    EngineLost,
    Item,
    LeaseGone,
    ModifiedAt,
    Op,
    Put,
)
from certstore.cluster.key_copies import seal_copy
from certstore.cluster.key_updates import advanced
from certstore.cluster.keys import ClusterKey, KeyRing, update_keys
from certstore.cluster.known_members import KnownMember
from certstore.cluster.membership import ClusterView, Membership, MembershipRefused, foreign_engine
from certstore.cluster.sealing import KeyRingSealer
from certstore.files.clock import utc_now
from certstore.model.cluster.paths import CLASSES, ClusterPaths, Shelf
from certstore.model.cluster.records import Meta, Role
from certstore.model.cluster.wire import RecordClass, Refused, take_apart
from certstore.model.progress import Tell
from certstore.model.text import listed

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.2
_PASSES = 20
_COPIES_AT_ONCE = 100
_AGAIN = "run it again, on any full node: it goes on from here"


@dataclass(frozen=True, slots=True)
class Rotated:
    """`unread` are records under the old key that nobody can read any more: not authentic, so as good as lost."""

    key_id: str
    resealed: int
    unread: tuple[str, ...]


class Rotation:
    """One change. `known` are the newest records of members; `pause` waits so many seconds."""

    def __init__(
        self,
        engine: Engine,
        key_file: Path,
        ring: KeyRing,
        known: Mapping[str, KnownMember],
        tell: Tell,
        *,
        pause: Callable[[float], None] = time.sleep,
        patience: float = _PATIENCE_SECONDS,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._key_file = key_file
        self._known = known
        self._tell = tell
        self._pause = pause
        self._patience = patience
        self._now = clock
        self._paths = ClusterPaths(ring.cluster)
        self._sealer = KeyRingSealer(ring)
        self._stolen = set[str]()

    def run(self, stolen: str | None = None) -> Rotated:
        """`stolen` is a node that was taken out because somebody else has its files. Raises MembershipRefused where it
        can't begin or go on, KeysUnusable, Refused, OSError, EngineFailed.
        """
        ring = self._sealer.ring
        if ring.role is Role.FRONT:
            raise MembershipRefused(f"{ring.node} is a front and can't change keys", "do it on a full node")
        self._stolen = {stolen} if stolen is not None else set()
        self._learn()
        meta = self._meta()
        if len(meta.key_ids) > 1:
            self._tell("going on with a change of the key that was begun before")
            if stolen is not None and stolen not in meta.stolen:  # it may have been given that key
                self._finish()
                meta = self._meta()
        if len(meta.key_ids) == 1:
            self._begin(stolen)
            self._learn()
        return self._finish()

    # The steps

    def _finish(self) -> Rotated:
        meta = self._meta()
        if self._is_first_half(meta):
            old, key_id = meta.key_ids
            self._await(lambda has: key_id in has, "has not taken the new key")
            self._tell("every node that runs has the new key: from now on it seals")
            self._set(replace(meta, key_ids=(key_id, old)), key_id)
            meta = self._meta()
        key_id, *olds = meta.key_ids
        self._await(lambda has: has[:1] == (key_id,), "does not seal with the new key yet")
        self._use_up_invitations()
        resealed, unread = self._reseal(key_id)
        exposed = self._now() if meta.stolen else meta.exposed_before
        retired = (*meta.retired, *olds)
        self._set(replace(meta, key_ids=(key_id,), retired=retired, stolen=(), exposed_before=exposed), key_id)
        self._take_out({*self._stolen, *meta.stolen})
        return Rotated(key_id, resealed, unread)

    def _take_out(self, stolen: set[str]) -> None:
        """Again, where its record was shown anew under the old key: with the new one that is over."""
        membership = Membership(self._engine, self._sealer.ring, self._known)
        for node in sorted(stolen & set(membership.view().nodes)):
            membership.leave(node, self._now())

    def _begin(self, stolen: str | None) -> None:
        """The copies and what names the key, in one transaction where there are not very many. This node too has the
        key from its copy: a kill before leaves nothing, a kill after loses nothing.
        """
        item, meta, generation = self._meta_item()
        key, old = ClusterKey.draw(), meta.key_ids[0]
        key_id = key.key_id
        self._sealer.use(self._sealer.ring.with_key(key))
        ops = list(self._copies(old, key_id))
        self._tell(f"giving the new key {key_id} to {len(ops)} members")
        *first, last = list(batched(ops, _COPIES_AT_ONCE)) or [()]
        for some in first:
            self._put_new(some)
        there = self._engine.get([op.key for op in last]).by_key() if last else {}
        begun = replace(meta, key_ids=(old, key_id), stolen=(stolen,) if stolen is not None else ())
        value = self._sealed_meta(begun, generation + 1)
        compares: list[Compare] = [ModifiedAt(self._paths.meta, item.modified)]
        compares += [ModifiedAt(op.key, there[op.key].modified if op.key in there else 0) for op in last]
        self._commit(compares, [Put(self._paths.meta, value), *last])

    def _await(self, is_ready: Callable[[tuple[str, ...]], bool], what: str) -> None:
        """Members that came meanwhile get their copy too. A node that does not run finds its own when it does."""
        waited = 0.0
        while True:
            self._give_to_new_members()
            behind = sorted(name for name, has in self._lives().items() if not is_ready(has))
            if not behind:
                return
            if waited >= self._patience:
                remedy = f"look at it, update its certedge or stop it; then {_AGAIN}"
                raise MembershipRefused(f"{listed(behind)} {what}", remedy)
            self._pause(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def _give_to_new_members(self) -> None:
        first, second = self._meta().key_ids[:2]
        ages = list(self._sealer.ring.keys)
        old, key_id = sorted((first, second), key=ages.index)
        there = {item.key for item in self._engine.read(self._paths.shelf(Shelf.KEY), keys_only=True).items}
        self._put_new([op for op in self._copies(old, key_id) if op.key not in there])

    def _use_up_invitations(self) -> None:
        """They hold the old key alone."""
        for item in self._engine.read(self._paths.shelf(Shelf.INVITE), keys_only=True).items:
            self._engine.commit([ModifiedAt(item.key, item.modified)], [Delete(item.key)])

    def _reseal(self, key_id: str) -> tuple[int, tuple[str, ...]]:
        """Until nothing that can be opened is left under another key."""
        done, unread = 0, set[str]()
        for _ in range(_PASSES):
            keys = [item.key for item in self._engine.read(self._paths.prefix, keys_only=True).items]
            wanted = [key for key in keys if self._is_sealed(key)]
            before, unread = done, set[str]()
            found = 0
            for at, some in enumerate(batched(wanted, GET_AT_ONCE)):
                items = [item for item in self._engine.get(some).items if not _is_under(item.value, key_id)]
                found += len(items)
                puts = [(item, put) for item in items if (put := self._anew(item, unread)) is not None]
                for group in _groups(puts):
                    done += self._replace(group)
                self._tell(f"{min((at + 1) * GET_AT_ONCE, len(wanted))} of {len(wanted)} records looked at")
            if found == len(unread) and done == before:
                return done, tuple(sorted(unread))
        raise MembershipRefused("records keep changing faster than they are sealed anew", _AGAIN)

    # Inside

    def _is_first_half(self, meta: Meta) -> bool:
        ages = list(self._sealer.ring.keys)
        if not set(meta.key_ids) <= set(ages):
            raise MembershipRefused("this node has not been given the new key", "run it on another full node")
        return len(meta.key_ids) == 2 and ages.index(meta.key_ids[0]) < ages.index(meta.key_ids[1])

    def _is_sealed(self, key: str) -> bool:
        where = self._paths.parse(key)
        if where is None or where.shelf is Shelf.META:  # that one says how far we are
            return False
        return CLASSES.get(where.shelf) not in (None, RecordClass.NODE)

    def _anew(self, item: Item, unread: set[str]) -> Put | None:
        where = self._paths.parse(item.key)
        assert where is not None, "sealed"  # noqa: S101
        try:
            opened = self._sealer.open(item.key, item.value)
        except Refused:
            unread.add(item.key)
            return None
        value = self._sealer.seal(item.key, opened.generation, CLASSES[where.shelf], opened.plaintext)
        return Put(item.key, value, item.lease)

    def _replace(self, group: Sequence[tuple[Item, Put]]) -> int:
        """How many were. What has changed since is found by the next pass."""
        try:
            compares = [ModifiedAt(item.key, item.modified) for item, _ in group]
            if isinstance(self._engine.commit(compares, [put for _, put in group]), Committed):
                return len(group)
        except LeaseGone:
            pass  # and the record with it
        return sum(self._replace([each]) for each in group) if len(group) > 1 else 0

    def _copies(self, old: str, key_id: str) -> Iterator[Put]:
        ring, view = self._sealer.ring, self._view()
        for name in self._nodes_of(view):
            value = seal_copy(ring.cluster, view.members[name], ring.keys[key_id], ring.keys[old])
            yield Put(self._paths.of(Shelf.KEY, key_id, name), value)

    def _put_new(self, ops: Sequence[Put]) -> None:
        for op in ops:
            self._engine.commit([ModifiedAt(op.key, 0)], [op])

    def _lives(self) -> dict[str, tuple[str, ...]]:
        view = self._view()
        return {name: live.key_ids for name, live in view.lives.items() if name in self._nodes_of(view)}

    def _nodes_of(self, view: ClusterView) -> list[str]:
        """Whoever has a stolen node's files may show its old record again, or a newer one: it gets no key with that."""
        stolen = {*self._stolen, *(view.meta.stolen if view.meta is not None else ())}
        return [name for name in view.nodes if name not in stolen]

    def _view(self) -> ClusterView:
        return Membership(self._engine, self._sealer.ring, self._known).view()

    def _meta(self) -> Meta:
        return self._meta_item()[1]

    def _meta_item(self) -> tuple[Item, Meta, int]:
        item = self._engine.get([self._paths.meta]).by_key().get(self._paths.meta)
        if item is None:
            raise foreign_engine(self._paths.cluster)
        opened = self._sealer.open(item.key, item.value)
        return item, Meta.decode(opened.plaintext), opened.generation

    def _set(self, wanted: Meta, key_id: str) -> None:
        """And this node's own keys with it."""
        self._sealer.use(self._sealer.ring.sealing_with(key_id))
        item, meta, generation = self._meta_item()
        if meta != wanted:
            value = self._sealed_meta(wanted, generation + 1)
            self._commit([ModifiedAt(item.key, item.modified)], [Put(item.key, value)])
        self._learn()

    def _sealed_meta(self, meta: Meta, generation: int) -> bytes:
        return self._sealer.seal(self._paths.meta, generation, RecordClass.SITES, meta.encode())

    def _commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> None:
        """Where no answer came, it is looked at: the bytes of a seal are never drawn twice."""
        outcome = self._engine.commit(compares, ops)
        if isinstance(outcome, Committed):
            return
        found = self._engine.get([self._paths.meta]).by_key().get(self._paths.meta)
        wanted = {op.value for op in ops if isinstance(op, Put) and op.key == self._paths.meta}
        if found is None or found.value not in wanted:
            raise EngineLost(f"the change of the key has stopped: {_AGAIN}")

    def _learn(self) -> None:
        """What this node has not taken over yet: the command may run where no service does."""
        ring = self._sealer.ring
        items = self._engine.read(self._paths.shelf(Shelf.KEY)).items
        places = [(self._paths.parse(item.key), item.value) for item in items]
        copies = {where.parts[0]: value for where, value in places if where is not None and where.name == ring.node}
        meta = self._engine.get([self._paths.meta]).by_key().get(self._paths.meta)
        self._use(lambda ring: advanced(ring, copies, self._paths.meta, meta.value if meta is not None else None))

    def _use(self, change: Callable[[KeyRing], KeyRing]) -> None:
        self._sealer.use(update_keys(self._key_file, change))


def _is_under(value: bytes, key_id: str) -> bool:
    try:
        return take_apart(value).header.key_id.hex() == key_id
    except Refused:
        return True  # of a newer release, or nobody's: it can't be sealed anew


def _groups(puts: Sequence[tuple[Item, Put]]) -> Iterator[list[tuple[Item, Put]]]:
    """As many as one commit takes."""
    group: list[tuple[Item, Put]] = []
    size = 0
    for item, put in puts:
        length = len(put.key) + len(put.value)
        if group and size + length > MOST_BYTES * 9 // 10:
            yield group
            group, size = [], 0
        group.append((item, put))
        size += length
    if group:
        yield group
