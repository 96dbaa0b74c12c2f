"""Makes the records of other nodes live here: opens them, compares them with what is here, and adopts or keeps.

What is older than what this node has seen does not count, and what changed here meanwhile is never overwritten without
a decision by the rules of `model.cluster.merge`. Where ours wins, nothing is adopted, and the publisher finds that it
has something to publish. Asks nobody: the caller hands it what the engine holds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import batched

from certstore.cluster.agreed import AgreedState, Agreement
from certstore.cluster.engine import Item
from certstore.cluster.lately import Lately
from certstore.cluster.local_records import LocalRecords
from certstore.cluster.sealing import Sealer
from certstore.model.cluster.merge import EXPLANATIONS, Freshness, Verdict, Winner, decide_head, decide_site, freshness
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import HeadRecord, SiteRecord, decode_seq
from certstore.model.cluster.wire import Refused
from certstore.model.record import Outcome, Record
from certstore.store.adoption import REPLICATE, Adopted, Declaration, HeadAdoption, Removed, SiteAdoption
from certstore.store.writer import StoreWriter

logger = logging.getLogger(__name__)

AT_ONCE = 500
"""Sites in one adoption: others wait for the writer meanwhile."""
_SHOWN_SETTINGS = 1000
"""Characters, in a record."""
_ROUNDS = 3
"""How often a site that changes while it is adopted is looked at again; the next sync does it otherwise."""
_FOLLOWED = (Shelf.SITE, Shelf.PREV, Shelf.HEAD)


@dataclass(frozen=True, slots=True)
class _Found[R: SiteRecord | HeadRecord]:
    """An authentic record. `path` begins below the cluster's prefix."""

    path: str
    site: str
    generation: int
    modified: int
    record: R


class _Choice(StrEnum):
    ADOPT = "adopt"
    INSTEAD = "instead"
    """Adopt, though somebody has changed it here too."""
    OURS = "ours"
    NOTHING = "nothing"


_ADOPTS = (_Choice.ADOPT, _Choice.INSTEAD)


@dataclass(slots=True)
class FollowerCounts:
    """Since the start. `refused` are by why a record did not count."""

    refused: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0


class Follower:
    """Used by one thread. `keeps` says which sites this node keeps."""

    def __init__(
        self,
        writer: StoreWriter,
        local: LocalRecords,
        agreed: AgreedState,
        sealer: Sealer,
        paths: ClusterPaths,
        keeps: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._writer = writer
        self._local = local
        self._agreed = agreed
        self._sealer = sealer
        self._paths = paths
        self._keeps = keeps
        self.counts = FollowerCounts()
        self.refused: dict[str, Refused] = {}
        """The records that do not count now, and why, by path."""
        self.conflicts = Lately()
        """The sites whose change here met one of another node."""
        self.went_back = Lately()
        """The records of which the engine had an older one than this node, or none any more."""
        self.not_adopted: dict[str, str] = {}
        """By site: why this node does not have what the others have."""
        self.is_incomplete = False
        """Something could not be adopted that may succeed with the next sync."""

    def follows(self, key: str) -> bool:
        where = self._paths.parse(key)
        return where is not None and where.shelf in _FOLLOWED and self._keeps(where.name)

    def take(self, items: Iterable[Item], *, is_feed: bool = False) -> None:
        """Adopt what other nodes have published. What can't be adopted stays as it is here, with a problem. A feed may
        show what a reading has overtaken.
        """
        sites: list[_Found[SiteRecord]] = []
        before: list[_Found[HeadRecord]] = []
        heads: list[_Found[HeadRecord]] = []
        for item in items:
            if item.key == self._paths.seq:
                self._agreed.raise_seq(decode_seq(item.value))
            if not self.follows(item.key):
                continue
            if is_feed and self._is_overtaken(item):
                continue
            where = self._paths.parse(item.key)
            assert where is not None, "follows"  # noqa: S101
            if where.shelf is Shelf.SITE:
                sites += self._opened(item, where.name, SiteRecord.decode)
            else:
                (heads if where.shelf is Shelf.HEAD else before).extend(
                    self._opened(item, where.name, HeadRecord.decode)
                )
        for some_sites in batched(sites, AT_ONCE):
            self._take_sites(some_sites)
        for some in batched(before, AT_ONCE):
            self._take_predecessors(some)
        for some in batched(heads, AT_ONCE):
            self._take_heads(some)
        self._agreed.sync()

    # Inside

    def _is_overtaken(self, item: Item) -> bool:
        known = self._agreed.get(item.key.removeprefix(self._paths.prefix))
        return known is not None and item.modified <= known.modified

    def _opened[R: SiteRecord | HeadRecord](
        self, item: Item, site: str, decode: Callable[[str, bytes], R]
    ) -> list[_Found[R]]:
        path = item.key.removeprefix(self._paths.prefix)
        try:
            opened = self._sealer.open(item.key, item.value)
            record = decode(site, opened.plaintext)
        except Refused as error:
            self.counts.refused[error.why.value] += 1
            if str(self.refused.get(path)) != str(error):
                logger.warning("a record of the cluster does not count: %s: %s", path, error)
            self.refused[path] = error
            return []
        self.refused.pop(path, None)
        return [_Found(path, site, opened.generation, item.modified, record)]

    def _take_sites(self, found: Sequence[_Found[SiteRecord]]) -> None:
        for _ in range(_ROUNDS):
            plan: list[tuple[SiteAdoption, _Found[SiteRecord], str | None]] = []
            for each in found:
                before = self._writer.declaration(each.site)
                ours = self._local.site_as(each.site, before)
                if ours is not None and ours.removal is not None and self._agreed.get(each.path) is None:
                    ours = None  # it was removed before this node belonged to the cluster
                digest = ours.digest if ours is not None else None
                choice = self._choose(each, digest, lambda: decide_site(each.record, _there(ours)))  # noqa: B023
                if choice in _ADOPTS:
                    keep_as = self._local.kept_site_file if choice is _Choice.INSTEAD else ""
                    adoption = SiteAdoption(each.site, each.record.by, before, _declared(each.record), keep_as)
                    plan.append((adoption, each, digest))
            found = self._adopt(plan, self._writer.adopt_declarations) if plan else []
            if not found:
                return
        self.is_incomplete = True

    def _take_predecessors(self, found: Sequence[_Found[HeadRecord]]) -> None:
        """Archived once, so that a node that has just joined can go back by one version too."""
        wanted = []
        for each in found:
            known = self._agreed.get(each.path)
            if known is None and self._local.archived(each.site, each.record.digest) is None:
                wanted.append(HeadAdoption(each.record.version, each.record.by, None, each.record.files, is_live=False))
        failed = set()
        if wanted:
            try:
                failed = {each.site for each in self._writer.adopt_heads(wanted) if each.outcome is Outcome.FAILED}
            except OSError as error:
                self._cannot_write(error)
                return
        self.is_incomplete |= bool(failed)
        for each in found:
            known = self._agreed.get(each.path)
            if each.site not in failed and (known is None or each.generation >= known.generation):
                self._agree(each)

    def _take_heads(self, found: Sequence[_Found[HeadRecord]]) -> None:
        for _ in range(_ROUNDS):
            plan: list[tuple[HeadAdoption, _Found[HeadRecord], str | None]] = []
            for each in found:
                site = self._local.site(each.site)
                digest = self._local.head_digest(each.site)
                if site is not None and site.removal is not None:
                    known = self._agreed.get(each.path)
                    if known is None or each.generation >= known.generation:  # a floor never falls
                        self._agree(each)
                    continue
                choice = self._choose(each, digest, lambda: self._decide_head(each, site))  # noqa: B023
                if choice in _ADOPTS:
                    record = each.record
                    head = HeadAdoption(record.version, record.by, digest, record.files, tried_with=record.tried_with)
                    plan.append((head, each, digest))
            found = self._adopt(plan, self._writer.adopt_heads) if plan else []
            if not found:
                return
        self.is_incomplete = True

    def _adopt[A, R: SiteRecord | HeadRecord](
        self, plan: Sequence[tuple[A, _Found[R], str | None]], adopt: Callable[[Sequence[A]], Sequence[Adopted]]
    ) -> list[_Found[R]]:
        """Returns those that changed here meanwhile, for another round."""
        try:
            answers = adopt([adoption for adoption, _, _ in plan])
        except OSError as error:
            self._cannot_write(error, [each.site for _, each, _ in plan])
            return []
        return self._note(answers, [(each, digest) for _, each, digest in plan])

    def _decide_head(self, each: _Found[HeadRecord], site: SiteRecord | None) -> Verdict:
        return decide_head(each.record, _there(self._local.head(each.site)), _there(site))

    def _choose[R: SiteRecord | HeadRecord](
        self, each: _Found[R], ours: str | None, decide: Callable[[], Verdict]
    ) -> _Choice:
        """What becomes of a record, where the store has `ours`. What needs no adoption is agreed on here."""
        known = self._agreed.get(each.path)
        seen, digest = (known.generation, known.digest) if known is not None else (0, "")
        match freshness(each.generation, each.record.digest, seen, digest):
            case Freshness.OLDER:
                assert known is not None, "nothing is older than nothing"  # noqa: S101
                self.went_back.note(each.path, self._writer.now())
                self._agreed.put(each.path, replace(known, modified=each.modified, is_to_restore=True))
                return _Choice.NOTHING
            case Freshness.KNOWN:
                self._agreed.see_at(each.path, each.modified)
                return _Choice.ADOPT if self._is_lacking(each, known, ours) else _Choice.NOTHING
            case fresh:
                is_unchanged = fresh is Freshness.NEWER and known is not None and known.covers(ours)
        if ours is None or is_unchanged or ours == each.record.digest:
            return _Choice.ADOPT
        try:
            verdict = decide()
        except OSError as error:
            self._cannot_write(error, [each.site])
            return _Choice.NOTHING
        self._tell_conflict(each, verdict)
        if verdict.winner is Winner.OURS:
            self._agree(each)
            self.not_adopted.pop(each.site, None)
            return _Choice.OURS
        return _Choice.INSTEAD if verdict.winner is Winner.THEIRS else _Choice.ADOPT

    def _is_lacking[R: SiteRecord | HeadRecord](
        self, each: _Found[R], known: Agreement | None, ours: str | None
    ) -> bool:
        """Whether this node should have a record that it has seen before: it could not adopt it, or lost it since."""
        if known is None or ours == each.record.digest:
            return False
        if known.instead is not None and known.covers(ours):
            return True
        return isinstance(each.record, HeadRecord) and self._local.is_repair(each.site)

    def _tell_conflict[R: SiteRecord | HeadRecord](self, each: _Found[R], verdict: Verdict) -> None:
        """On record on the node whose change met another one's."""
        if verdict.winner is Winner.SAME or not isinstance(self._writer.declaration(each.site), Declaration):
            return
        self.counts.conflicts += 1
        self.conflicts.note(each.site, self._writer.now())
        why, node = EXPLANATIONS[verdict.because], each.record.by
        what = "settings" if isinstance(each.record, SiteRecord) else "certificate"
        live = self._writer.live_version(each.site)
        if verdict.winner is Winner.OURS:
            message = f"this site's {what} changed on {node} too; the one of this node counts, because {why}"
        else:
            message = f"this site's {what} changed on {node} too; that one counts, because {why}"
            if isinstance(each.record, SiteRecord) and (own := self._writer.settings(each.site)) is not None:
                message += f"; here they were {own.model_dump_json(exclude_defaults=True)[:_SHOWN_SETTINGS]}"
            if isinstance(each.record, HeadRecord) and live is not None:
                message += (
                    f"; the other one stays in the archive: `certedge cert rollback {each.site} {live.number}` makes "
                    "it live"
                )
        now = self._writer.now()
        self._writer.add_record(
            each.site, Record(now, REPLICATE, Outcome.NOTED, "conflict", message, source=f"cluster:{node}")
        )

    def _note[R: SiteRecord | HeadRecord](
        self, answers: Sequence[Adopted], adopted: Sequence[tuple[_Found[R], str | None]]
    ) -> list[_Found[R]]:
        """Remember what was adopted; returns what has changed meanwhile and has to be decided again."""
        again = []
        for answer, (each, before) in zip(answers, adopted, strict=True):
            if answer.outcome in (Outcome.REFUSED, Outcome.FAILED):
                self.not_adopted[each.site] = answer.message
            elif not answer.is_outdated:
                self.not_adopted.pop(each.site, None)
            if answer.is_outdated:
                again.append(each)
            elif answer.outcome in (Outcome.DONE, Outcome.NOTED):
                self._agree(each)
            elif answer.outcome is Outcome.REFUSED:
                self._agree(each, instead=before or "")
            else:
                self.is_incomplete = True
        return again

    def _agree[R: SiteRecord | HeadRecord](self, each: _Found[R], instead: str | None = None) -> None:
        numbers: Mapping[str, int] = each.record.numbers if isinstance(each.record, SiteRecord) else {}
        agreement = Agreement(each.generation, each.record.digest, each.modified, instead, numbers=numbers)
        self._agreed.put(each.path, agreement)
        if isinstance(each.record, SiteRecord) and each.record.removal is not None:
            for path in (self._paths.head(each.site), self._paths.prev(each.site)):
                self._agreed.forget_content(path.removeprefix(self._paths.prefix))
        self._agreed.raise_seq(max(numbers.values(), default=0))

    def _cannot_write(self, error: OSError, sites: Iterable[str] = ()) -> None:
        logger.error("changes of other nodes can't be made here now: %s", error.strerror)
        self.not_adopted |= dict.fromkeys(sites, f"{error.strerror or error}; it is tried again soon")
        self.is_incomplete = True


def _declared(record: SiteRecord) -> Declaration | Removed:
    if record.removal is not None:
        return Removed(record.removal.at)
    settings = record.settings
    facts = settings.model_dump(mode="json", exclude_defaults=True) if settings is not None else None
    return Declaration(record.host, facts, record.numbers)


def _there[T](value: T | None) -> T:
    assert value is not None, "there is something to decide about"  # noqa: S101
    return value
