"""Publishes what changed on this node, after it went live here: a drop never waits for the engine.

There is no queue: a site is to be published where the store differs from what was agreed, so nothing is forgotten by a
kill and nothing can go stale. Every transaction holds only if nobody else has written since; where somebody has, the
follower decides, and what is still ours is published again. An answer that did not come is read back, never repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from certstore.cluster.agreed import AgreedState, Agreement
from certstore.cluster.engine import (
    GET_AT_ONCE,
    MOST_BYTES,
    Committed,
    Compare,
    CreatedAt,
    Delete,
    Engine,
    EngineLost,
    Item,
    ModifiedAt,
    Op,
    Put,
    Unknown,
)
from certstore.cluster.follower import Follower
from certstore.cluster.local_records import LocalRecords
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.merge import EXPLANATIONS, Winner, decide_head
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import HeadRecord, SiteRecord, decode_seq, encode_seq
from certstore.model.cluster.wire import VALUE_LIMIT, RecordClass
from certstore.model.version import Version
from certstore.store.writer import StoreWriter

logger = logging.getLogger(__name__)

SITES_AT_ONCE = 30
"""In one transaction: with four operations and two compares each, and `seq`, they stay below the engine's limit."""
_BYTES_AT_ONCE = MOST_BYTES * 9 // 10
_FRAMING = 2048
"""Keys and seals of one site's records."""
_RECORD_BYTES = VALUE_LIMIT - 1024
_ROUNDS = 8
"""How often a site that others change at the same time is tried; the next change or sync tries it again."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """What one site adds to a transaction. Paths begin below the cluster's prefix. `is_gone`: the site was removed.
    `instead` is the digest of what is live here until an ordered head is.
    """

    site: str
    generation: int
    record: SiteRecord | None
    head: HeadRecord | None
    previous: HeadRecord | None
    size: int
    is_gone: bool
    instead: str | None = None


@dataclass(slots=True)
class _Numbers:
    """The numbers of declarations. What this node counted beyond `base` while nobody else did stays as it is."""

    base: int = 0
    seq: int = 0
    modified: int = -1

    def seen(self, item: Item | None, at_least: int) -> None:
        modified = item.modified if item is not None else 0
        if modified != self.modified:
            self.seq = max(decode_seq(item.value if item is not None else None), at_least)
            self.base, self.modified = self.seq, modified

    def of(self, local: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
        """The numbers of a site's names, of which `known` were agreed on before."""
        return {name: known.get(name, max(number, self.base + 1)) for name, number in local.items()}


class Publisher:
    """Used by one thread."""

    def __init__(
        self,
        engine: Engine,
        writer: StoreWriter,
        local: LocalRecords,
        agreed: AgreedState,
        sealer: Sealer,
        paths: ClusterPaths,
        follower: Follower,
        keeps: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._local = local
        self._agreed = agreed
        self._sealer = sealer
        self._paths = paths
        self._follower = follower
        self._keeps = keeps
        self._numbers = _Numbers()
        self.conditions: Callable[[], Sequence[Compare]] = tuple  # of every transaction
        self.revision = 0
        """That of the engine with the latest change of this node since everything was compared."""

    def is_dirty(self, site: str) -> bool:
        """Whether the cluster has yet to know something of this site."""
        return self._keeps(site) and any(self._dirty(site, self._local.site(site)))

    def publish(self, sites: Iterable[str]) -> set[str]:
        """Publish what differs from what was agreed. Returns the sites that are still to be published, because others
        keep changing them or this node's disk fails. Raises EngineFailed; what was not published then is so later.
        """
        group: list[_Draft] = []
        left: set[str] = set()
        for site in sites:
            draft = self._draft(site)
            if draft is None:
                continue
            if group and (len(group) >= SITES_AT_ONCE or sum(one.size for one in group) + draft.size > _BYTES_AT_ONCE):
                left |= self._publish_group(group)
                group = []
            group.append(draft)
        if group:
            left |= self._publish_group(group)
        self._agreed.sync()
        return left

    def publish_order(self, version: Version, fence: CreatedAt) -> str | None:
        """Publish an ordered version, which is in the archive, before it goes live here: why it must not, None where it
        may. It is published only while the fence holds, so a node that was paused never overtakes its successor.
        Raises EngineFailed, OSError.
        """
        site, order = version.site, self._paths.order(version.site)
        path = self._below(self._paths.head(site))
        for _ in range(_ROUNDS):
            known = self._agreed.get(path)
            if known is not None and known.digest == version.digest and not known.is_to_restore:
                return None  # by a process of this node that was killed since, or by the one that went on with it
            if (draft := self._draft_order(version)) is None:
                return "the site was removed, or its chain is too large for the engine"
            if self._commit([draft], [fence], [Delete(order)]):
                self._agreed.sync()
                return None
            if (why_not := self._overtaken(version, fence, known)) is not None:
                return why_not
        raise EngineLost(f"{site} keeps changing on other nodes")

    # Inside

    def _draft_order(self, version: Version) -> _Draft | None:
        site = version.site
        record = self._local.site(site)
        if record is None or record.removal is not None:
            return None
        known = self._agreed.get(self._below(self._paths.head(site)))
        previous = self._local.archived(site, known.digest) if known is not None and known.digest else None
        is_site_dirty, _ = self._dirty(site, record)
        instead = self._local.head_digest(site) or ""
        return self._sized(
            site, record, self._local.of_version(version), previous, instead, is_site_dirty=is_site_dirty
        )

    def _overtaken(self, version: Version, fence: CreatedAt, known: Agreement | None) -> str | None:
        """Why what another node has done in the meantime counts, and not this order."""
        there = self._engine.get([fence.key]).by_key().get(fence.key)
        if there is None or there.created != fence.revision:
            holder = there.value.decode("ascii", "replace")[:63] if there is not None else "another node"
            return f"this node was away, so {holder} orders for the site"
        after = self._agreed.get(self._below(self._paths.head(version.site)))
        if after is None or (known is not None and after.digest == known.digest):
            return None
        theirs, site = self._local.archived(version.site, after.digest), self._local.site(version.site)
        if theirs is None or site is None:
            return None
        verdict = decide_head(theirs, self._local.of_version(version), site)
        if verdict.winner is Winner.OURS:
            return None
        return (
            f"another node has made a certificate live meanwhile, which counts, because {EXPLANATIONS[verdict.because]}"
        )

    def _dirty(self, site: str, record: SiteRecord | None) -> tuple[bool, bool]:
        """Whether its settings, and whether its live version, have to be published."""
        if record is None:
            return False, False
        known = self._agreed.get(self._below(self._paths.site(site)))
        is_site_dirty = known is None or known.needs(record.digest)
        if record.removal is not None:
            # What was removed everywhere before this node could know is no news.
            return known is not None and is_site_dirty, False
        digest, known = self._local.head_digest(site), self._agreed.get(self._below(self._paths.head(site)))
        if digest is None or (known is not None and not known.needs(digest)):
            return is_site_dirty, False
        # What this node made do with must not replace on all nodes what they have.
        return is_site_dirty, known is None or not known.digest or not self._local.is_repair(site)

    def _draft(self, site: str) -> _Draft | None:
        if not self._keeps(site):
            return None
        record = self._local.site(site)
        is_site_dirty, is_head_dirty = self._dirty(site, record)
        if record is None or not (is_site_dirty or is_head_dirty):
            return None
        head = previous = None
        try:
            if is_head_dirty:
                head = self._local.head(site)
                previous = self._previous(site) if head is not None else None
            return self._sized(site, record, head, previous, is_site_dirty=is_site_dirty)
        except OSError as error:
            logger.error("%s can't be published now: its files can't be read: %s", site, error.strerror)
            return None
        except ValueError as error:  # it must not keep the others from being published; the text may quote a file
            logger.error("%s can't be published: its files have no form for the engine: %s", site, type(error).__name__)
            return None

    def _sized(
        self,
        site: str,
        record: SiteRecord,
        head: HeadRecord | None,
        previous: HeadRecord | None,
        instead: str | None = None,
        *,
        is_site_dirty: bool,
    ) -> _Draft | None:
        """None for what the engine does not take. Raises ValueError."""
        settings_size = len(record.encode())
        head_size = len(head.encode()) if head is not None else 0
        previous_size = len(previous.encode()) if previous is not None else 0
        if max(settings_size, head_size) > _RECORD_BYTES or settings_size + head_size > _BYTES_AT_ONCE - _FRAMING:
            what = "settings are" if settings_size > head_size else "chain is"
            logger.error("%s can't be published: its %s too large for the engine", site, what)
            return None
        if previous_size > _RECORD_BYTES or settings_size + head_size + previous_size > _BYTES_AT_ONCE - _FRAMING:
            previous, previous_size = None, 0
        generations = [known.generation for path in self._paths_of(site) if (known := self._agreed.get(path))]
        return _Draft(
            site,
            max(generations, default=0) + 1,
            record if is_site_dirty else None,
            head,
            previous,
            settings_size + head_size + previous_size + _FRAMING,
            record.removal is not None,
            instead,
        )

    def _previous(self, site: str) -> HeadRecord | None:
        """What the cluster had until now; of a site that it gets to know, what a rollback would make live here."""
        known = self._agreed.get(self._below(self._paths.head(site)))
        if known is None or known.digest == self._local.head_digest(site):
            return self._local.predecessor(site)
        return self._local.archived(site, known.digest)

    def _publish_group(self, group: Sequence[_Draft]) -> set[str]:
        """All sites in one transaction; where somebody else has changed one of them, each by itself."""
        if self._commit(group):
            return set()
        return {draft.site for draft in group if not self._publish_one(draft.site)}

    def _publish_one(self, site: str) -> bool:
        for _ in range(_ROUNDS):
            draft = self._draft(site)
            if draft is None or self._commit([draft]):
                return True
        return False

    def _commit(self, group: Sequence[_Draft], fences: Sequence[Compare] = (), also: Sequence[Op] = ()) -> bool:
        """Whether it was committed; if not, what the engine has instead has been taken in."""
        transaction = self._transaction(group)
        fences = [*fences, *self.conditions()]
        outcome = self._engine.commit([*transaction.compares, *fences], [*transaction.ops, *also])
        if isinstance(outcome, Committed):
            self._agree(transaction, dict.fromkeys(transaction.agreements, outcome.revision))
            return True
        wanted = [self._paths.prefix + path for draft in group for path in self._paths_of(draft.site)]
        found = {item.key: item for item in self._read([self._paths.seq, *wanted])}
        if isinstance(outcome, Unknown):
            puts = {op.key: op.value for op in transaction.ops if isinstance(op, Put) and op.key != self._paths.seq}
            if all(key in found and found[key].value == value for key, value in puts.items()):
                self._agree(
                    transaction, {path: found[self._paths.prefix + path].modified for path in transaction.agreements}
                )
                return True
        for key in wanted:
            known = self._agreed.get(self._below(key))
            if known is not None and key not in found:
                # Deleted, which is never a removal: what is ours is written as new.
                self._agreed.put(self._below(key), replace(known, modified=0))
        self._follower.take(found.values())
        return False

    def _read(self, keys: Sequence[str]) -> Iterator[Item]:
        for start in range(0, len(keys), GET_AT_ONCE):
            yield from self._engine.get(keys[start : start + GET_AT_ONCE]).items

    def _transaction(self, group: Sequence[_Draft]) -> _Transaction:
        transaction, is_counting = _Transaction(), any(self._has_new_names(draft) for draft in group)
        if is_counting:
            self._numbers.seen(next(self._read([self._paths.seq]), None), self._agreed.seq)
            transaction.compares.append(ModifiedAt(self._paths.seq, self._numbers.modified))
        for draft in group:
            self._add_site(transaction, draft)
            self._add_head(transaction, draft)
        highest = max((number for one in transaction.numbers.values() for number in one.values()), default=0)
        if is_counting and highest > self._numbers.seq:
            transaction.ops.append(Put(self._paths.seq, encode_seq(highest)))
            transaction.seq = highest
        return transaction

    def _has_new_names(self, draft: _Draft) -> bool:
        if draft.record is None:
            return False
        known = self._agreed.get(self._below(self._paths.site(draft.site)))
        return not set(draft.record.numbers) <= set(known.numbers if known is not None else ())

    def _add_site(self, transaction: _Transaction, draft: _Draft) -> None:
        path = self._paths.site(draft.site)
        known = self._agreed.get(self._below(path))
        transaction.compares.append(ModifiedAt(path, known.modified if known is not None else 0))
        if draft.record is None:
            return
        numbers = self._numbers.of(draft.record.numbers, known.numbers if known is not None else {})
        record = replace(draft.record, numbers=numbers)
        transaction.ops.append(self._put(path, draft.generation, record.encode()))
        agreement = Agreement(draft.generation, record.digest, 0, numbers=numbers)
        transaction.agreements[self._below(path)] = agreement
        transaction.numbers[draft.site] = numbers
        if numbers != dict(draft.record.numbers):
            transaction.renumbered.add(draft.site)
        if draft.is_gone:
            transaction.removed.append(draft.site)
            transaction.ops += [Delete(self._paths.head(draft.site)), Delete(self._paths.prev(draft.site))]

    def _add_head(self, transaction: _Transaction, draft: _Draft) -> None:
        if draft.head is None:
            return
        for path, record, instead in (
            (self._paths.head(draft.site), draft.head, draft.instead),
            (self._paths.prev(draft.site), draft.previous, None),
        ):
            if record is not None:
                transaction.ops.append(self._put(path, draft.generation, record.encode()))
                transaction.agreements[self._below(path)] = Agreement(draft.generation, record.digest, 0, instead)
        known = self._agreed.get(self._below(self._paths.head(draft.site)))
        modified = known.modified if known is not None else 0
        transaction.compares.append(ModifiedAt(self._paths.head(draft.site), modified))

    def _put(self, path: str, generation: int, plaintext: bytes) -> Put:
        return Put(path, self._sealer.seal(path, generation, RecordClass.SITES, plaintext))

    def _agree(self, transaction: _Transaction, modified: Mapping[str, int]) -> None:
        self.revision = max([self.revision, *modified.values()])
        for path, agreement in transaction.agreements.items():
            self._agreed.put(path, replace(agreement, modified=modified[path]))
        for site in transaction.removed:
            for path in (self._paths.head(site), self._paths.prev(site)):
                self._agreed.forget_content(self._below(path))
        if transaction.seq:
            self._agreed.raise_seq(transaction.seq)
            # Nobody else has counted since: what was counted here keeps its order.
            self._numbers.seq, self._numbers.modified = transaction.seq, max(modified.values(), default=0)
        for site in transaction.renumbered:
            try:
                self._writer.agree_numbers(site, transaction.numbers[site])
            except OSError as error:
                logger.error("%s: the numbers of its names could not be written down: %s", site, error.strerror)

    def _paths_of(self, site: str) -> tuple[str, str, str]:
        return (
            self._below(self._paths.site(site)),
            self._below(self._paths.prev(site)),
            self._below(self._paths.head(site)),
        )

    def _below(self, key: str) -> str:
        return key.removeprefix(self._paths.prefix)


@dataclass(slots=True)
class _Transaction:
    """`agreements` hold when it was committed, `numbers` are those of the sites in it."""

    compares: list[Compare] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)
    renumbered: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    seq: int = 0
