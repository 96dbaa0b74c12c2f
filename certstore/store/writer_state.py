"""Everything the one writer knows and keeps, and the one way to change it: `commit` a `SiteChange`.

The parts: the registry (sites in memory), the journal (what workers read), three dictionaries that outlive a restart
(declarations, drops already decided, tombstones), and every site's records. Used under the writer's lock only; decides
nothing about certificates and never touches `live` or the archive.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from certstore.files.atomic import KeyPermissions
from certstore.files.keyed_state import KeyedState
from certstore.model.certificate.findings import Finding
from certstore.model.drop_decision import LastDrop
from certstore.model.front import Front
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite, SiteRegistry
from certstore.store.errors import UnknownSite
from certstore.store.journal import JournalWriter
from certstore.store.records import SiteRecords, read_records, same_findings, write_records
from certstore.store.site_yaml import Stamp
from certstore.store.trial import Trial

logger = logging.getLogger(__name__)

INTAKE = "intake"
"""What drops and uploads are called in records."""

CLUSTER = "cluster"
"""The origin of settings that another node has set and that no file here holds."""

_LEVELS = {
    Outcome.DONE: logging.INFO,
    Outcome.NOTED: logging.INFO,
    Outcome.REFUSED: logging.WARNING,
    Outcome.FAILED: logging.ERROR,
}


class SiteProblem(StrEnum):
    """Problems that stand until somebody solves them; kept beside the records, so that every reader sees them."""

    SOURCE_MISSING = "source_missing"
    SETTINGS_INVALID = "settings_invalid"
    NOT_ADOPTED = "not_adopted"
    NOT_ACTIVATED = "not_activated"
    DROP_REFUSED = "drop_refused"
    UNSETTLED = "unsettled"
    NAME_CONFLICT = "name_conflict"
    LIVE_UNUSABLE = "live_unusable"
    LIVE_UNLOADABLE = "live_unloadable"
    LIVE_REVOKED = "live_revoked"
    ATTEMPT_OVERDUE = "attempt_overdue"
    CONTACT_REFUSED = "contact_refused"
    CLOCK_OFF = "clock_off"
    NOT_ADOPTED_HERE = "not_adopted_here"
    """Another node's change could not be made on this one."""
    IGNORED_ON_FRONT = "ignored_on_front"
    KEY_EXPOSED = "key_exposed"


type Problems = Mapping[SiteProblem, str | None]
"""With a message the problem stands from now on; with None it is solved; one that is not named stays as it is."""


@dataclass(frozen=True, slots=True)
class SiteChange:
    """What one attempt changes about one site.

    `known` is the site as it is from now on, None where that stays; `stamp` is that of the site.yaml from which its
    settings come, where they are new. `drop` is the drop that has been decided: only another digest is news after it.
    `numbers` are those of the declared names where nodes have agreed on them; `is_without_file` says that settings came
    from another node and could not be written down as a site.yaml; `is_given` that an administrator named the site.
    """

    site: str
    record: Record | None = None
    problems: Problems = field(default_factory=dict)
    known: KnownSite | None = None
    stamp: Stamp | None = None
    drop: LastDrop | None = None
    is_removed: bool = False
    numbers: Mapping[str, int] | None = None
    is_without_file: bool = False
    is_given: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about the store. `settle` is how long a drop that looks unfinished must lie unchanged;
    `main_host` is the main site's host while no main/site.yaml names one; relative paths start at `base`; on a `front`
    nothing that lies in drop folders is adopted.
    """

    keep: int
    settle: timedelta
    main_host: str
    base: Path
    front: Front | None = None


@dataclass(slots=True)
class WriterState:
    """`opening.open_state` opens and repairs it."""

    layout: Layout
    permissions: KeyPermissions
    policy: Policy
    clock: Callable[[], datetime]
    registry: SiteRegistry
    journal: JournalWriter
    declared: KeyedState
    drops: KeyedState
    tombstones: KeyedState
    tried: KeyedState
    sync_pool: Executor = field(default_factory=lambda: ThreadPoolExecutor(8, thread_name_prefix="sync"))
    """Syncs the files of a version side by side; its threads start with the first version."""
    trial: Trial = field(default_factory=Trial)
    """Its process starts with the first certificate that is tried."""
    _unsaved: dict[str, SiteRecords] = field(default_factory=dict)
    """Records that a full disk did not take."""
    _problems: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """The problems of the sites seen so far: checking a drop that has not changed opens no file."""
    _logged: set[str] = field(default_factory=set)
    on_record: Callable[[str, Record], None] = lambda site, record: None
    """Learns of every attempt, in the thread that makes it."""
    judged: dict[str, frozenset[str]] = field(default_factory=dict)
    """The sites whose drop was decided since this start, and for which names."""
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    """Told of every site that was changed, under the writer's lock: they may only take note of it."""

    def commit(self, change: SiteChange) -> None:
        """Publish what workers have to know, then keep everything else, each file written at most once.

        Raises OSError when the change can't be published, and then nothing has changed. What the disk does not take
        after that is kept in memory, or tried again with the next check.
        """
        self.commit_all([change])

    def commit_all(self, changes: Sequence[SiteChange]) -> None:
        """`commit` for changes of different sites that workers get to know at the same moment."""
        moving = [each for each in changes if each.known is not None or each.is_removed or each.numbers is not None]
        touched = self._publish(moving) if moving else set()
        for change in changes:
            problems = dict(change.problems)
            if change.site in touched:
                problems[SiteProblem.NAME_CONFLICT] = self._conflict(change.site)
            self._keep(change.site, change.record, problems)
        self.report_conflicts(touched - {change.site for change in changes})
        # Last: until the drop counts as decided, a start after a kill decides it again and nothing goes unreported.
        for change in changes:
            if change.drop is not None:
                self._keep_drop(change.site, change.drop)
        for listener in self.listeners:
            for change in changes:
                listener(change.site)

    def declare(
        self,
        known: KnownSite,
        stamp: Stamp | None = None,
        *,
        is_durable: bool = True,
        is_without_file: bool = False,
        is_given: bool = False,
    ) -> None:
        """Keep what the site declares for the next start: its files may be gone by then. Raises OSError."""
        kept = self.declared.get(known.site)
        if kept is not None and stamp is None:
            is_without_file = is_without_file or self.is_without_file(known.site)
        settings = known.settings.model_dump(mode="json", exclude_defaults=True) if known.settings else None
        facts = {
            "host": known.host,
            "settings": settings,
            "stamp": list(stamp) if stamp else kept and kept["stamp"],
            "numbers": self.registry.numbers_of(known.site),
        }
        if is_without_file:
            facts["origin"] = CLUSTER
        if is_given or self.is_given(known.site):
            facts["given"] = True
        self.declared.put(known.site, facts, is_durable=is_durable)

    def is_without_file(self, site: str) -> bool:
        """Whether its settings came from another node, and no file here holds them."""
        kept = self.declared.get(site)
        return kept is not None and kept.get("origin") == CLUSTER

    def is_given(self, site: str) -> bool:
        """Whether an administrator has added or adopted it."""
        kept = self.declared.get(site)
        return kept is not None and kept.get("given") is True

    def publish(self, sites: Iterable[str], removed: Iterable[str] = ()) -> None:
        """Let workers read what differs from what was published last. Raises OSError."""
        entries = [self.registry.entry(site) for site in sorted(sites)]
        entries = [entry for entry in entries if self.journal.entries.get(entry.site) != entry]
        self.journal.publish(entries, [site for site in removed if site in self.journal.entries])

    def report_conflicts(self, sites: Iterable[str]) -> None:
        """Set or clear the problem of these sites; each side of a conflict reports it."""
        for site in sites:
            if site in self.registry:
                self._keep(site, None, {SiteProblem.NAME_CONFLICT: self._conflict(site)})

    def log_once(self, remark: str) -> None:
        """About what is ignored: the next scan does not repeat it."""
        if remark not in self._logged:
            self._logged.add(remark)
            logger.warning("%s", remark)

    def known(self, site: str) -> KnownSite:
        """Raises UnknownSite."""
        if (known := self.registry.get(site)) is None:
            raise UnknownSite(site)
        return known

    def records(self, site: str) -> SiteRecords:
        return self._unsaved.get(site) or read_records(self.layout, site)

    def has_problems(self, site: str) -> bool:
        """Whether a checked site has any; records that a full disk did not take count as one too."""
        return site in self._unsaved or bool(self._problems.get(site))

    def refusal(self, site: str) -> str | None:
        """Why its drop was refused, if nothing has gone live since."""
        return next((each.message for each in self._standing(site) if each.code == SiteProblem.DROP_REFUSED), None)

    def is_to_judge_again(self, known: KnownSite) -> bool:
        """Whether its drop was refused, or became what can't be loaded: by another release perhaps, or at another time.
        Each start looks at it once more, and at a refused one so does a change of the names.
        """
        if self.judged.get(known.site) == frozenset(known.expected_names):
            return False
        codes = {each.code for each in self._standing(known.site)}
        return not codes.isdisjoint((SiteProblem.DROP_REFUSED, SiteProblem.LIVE_UNLOADABLE))

    def last_drop(self, site: str) -> LastDrop | None:
        value = self.drops.get(site)
        return None if value is None else LastDrop.from_json(value)

    def rivals(self, site: str) -> set[str]:
        """The site and those that declare one of its names too; empty when there are none."""
        return {each for conflict in self.registry.conflicts(site) for each in (conflict.owner, conflict.loser)}

    def close(self) -> None:
        self.sync_pool.shutdown()
        self.trial.close()
        for each in (self.journal, self.declared, self.drops, self.tombstones, self.tried):
            each.close()

    def _publish(self, changes: Sequence[SiteChange]) -> set[str]:
        """The sites whose names may have moved, those of the changes included."""
        before = {each.site: (self.registry.get(each.site), self.registry.numbers_of(each.site)) for each in changes}
        touched = set(before).union(*map(self.rivals, before))
        changed = self._register(changes)
        try:
            self.publish(changed, removed=[each.site for each in changes if each.is_removed])
        except OSError:
            self._restore(before)
            raise
        is_durable = len(changes) == 1
        for change in changes:
            self._declare_change(change, is_durable=is_durable)
        if not is_durable:
            with contextlib.suppress(OSError):  # it is in the file, and only a power cut could lose it
                self.declared.sync()
        return touched | changed.union(*map(self.rivals, before))

    def _register(self, changes: Sequence[SiteChange]) -> set[str]:
        """The sites whose entries may differ from before."""
        changed: set[str] = set()
        for change in changes:
            if change.is_removed:
                changed |= self.registry.remove(change.site)
            elif change.numbers is not None:
                changed |= self.registry.agree(change.site, change.numbers)
        fresh = [each.known for each in changes if each.known is not None and not each.is_removed]
        fresh = [known for known in fresh if self.registry.get(known.site) != known]
        changed |= self.registry.put_all(fresh) if fresh else set()
        return changed & self.registry.keys()

    def _restore(self, before: Mapping[str, tuple[KnownSite | None, Mapping[str, int]]]) -> None:
        """Back to what workers know."""
        for site, (known, numbers) in before.items():
            if known is None:
                self.registry.remove(site)
            else:
                self.registry.agree(site, numbers)
                self.registry.put(known)

    def _declare_change(self, change: SiteChange, *, is_durable: bool) -> None:
        try:
            if change.is_removed:
                self.declared.drop(change.site, is_durable=is_durable)
            elif (known := change.known or self.registry.get(change.site)) is not None:
                self.declare(
                    known,
                    change.stamp,
                    is_durable=is_durable,
                    is_without_file=change.is_without_file,
                    is_given=change.is_given,
                )
        except OSError as error:
            # What is published stands. Without its stamp the site.yaml is read again, and this tried again; of a
            # removed site there is a tombstone, and the next start drops what is left.
            logger.error("%s: what it declares could not be written down: %s", change.site, error.strerror)

    def _standing(self, site: str) -> tuple[Finding, ...]:
        if (found := self._problems.get(site)) is None:
            found = self._problems[site] = self.records(site).problems
        return found

    def _keep(self, site: str, record: Record | None, changes: Problems) -> None:
        """Records and problems by one write, and only when something in them is new."""
        before = self._standing(site)
        stand = {each.code: each.message for each in before}
        for code, message in changes.items():
            if message is None:
                stand.pop(code, None)
            else:
                if stand.get(code) != message and (record is None or record.message != message):
                    logger.warning("%s: %s: %s", site, code.value, message)
                stand[code] = message
        problems = tuple(Finding(code, message) for code, message in stand.items())
        if record is not None:
            logger.log(
                _LEVELS[record.outcome], "%s: %s %s (%s): %s",
                site, record.doing, record.outcome.value, record.reason, record.message,
            )  # fmt: skip
            self.on_record(site, record)
        elif same_findings(problems, before):
            return
        self._problems[site] = problems
        records = self.records(site)
        records = records.with_attempt(record) if record is not None else records
        self._save(site, SiteRecords(records.attempts, problems))

    def _save(self, site: str, records: SiteRecords) -> None:
        try:
            write_records(self.layout, site, records)
        except OSError as error:
            logger.error("%s: the record could not be written (%s); it is kept in memory", site, error.strerror)
            self._unsaved[site] = records
        else:
            self._unsaved.pop(site, None)

    def _keep_drop(self, site: str, drop: LastDrop) -> None:
        try:
            self.drops.put(site, drop.to_json())
        except OSError as error:
            message = f"that this drop was decided could not be written down ({error.strerror}): it is checked again"
            self._keep(site, Record(self.clock(), INTAKE, Outcome.FAILED, "disk", message), {})

    def _conflict(self, site: str) -> str | None:
        messages = [
            f"{conflict.name} is declared by {conflict.owner}, which has it, and by {conflict.loser}"
            for conflict in self.registry.conflicts(site)
        ]
        return "; ".join(messages) or None
