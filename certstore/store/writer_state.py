"""The writer's books: everything the one writer knows and keeps, and the two things done with it: publish and record.

The parts: the roster (sites in memory), the journal (what workers read), and three dictionaries that outlive a restart
(declarations, drops judged, tombstones), the records of every site. Used under the writer's lock only; decides nothing
about certificates and never touches `live` or the archive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from certstore.files.atomic import Modes
from certstore.files.keyed_state import KeyedState
from certstore.model.certificate.findings import Finding
from certstore.model.drop_decision import LastDrop
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record
from certstore.model.site_registry import KnownSite, SiteRegistry
from certstore.store.journal import JournalWriter
from certstore.store.records import SiteRecords, read_records, same_findings, write_records
from certstore.store.site_yaml import Stamp

logger = logging.getLogger(__name__)

_LEVELS = {
    Outcome.DONE: logging.INFO,
    Outcome.NOTED: logging.INFO,
    Outcome.REFUSED: logging.WARNING,
    Outcome.FAILED: logging.ERROR,
}


class SiteProblem(StrEnum):
    """Problems that last until somebody does something; kept beside the records, so that every reader sees them."""

    SOURCE_MISSING = "source_missing"
    SETTINGS_INVALID = "settings_invalid"
    NOT_ACTIVATED = "not_activated"
    DROP_REFUSED = "drop_refused"
    UNSETTLED = "unsettled"
    NAME_CONFLICT = "name_conflict"
    LIVE_UNUSABLE = "live_unusable"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say about the store. `settle` is how long a drop that looks unfinished must lie unchanged;
    `main_host` is the main site's host while no main/site.yaml names one.
    """

    keep: int
    settle: timedelta
    main_host: str


@dataclass(slots=True)
class WriterState:
    """Opened and mended by `startup.open_books`."""

    layout: Layout
    modes: Modes
    policy: Policy
    clock: Callable[[], datetime]
    registry: SiteRegistry
    journal: JournalWriter
    declared: KeyedState
    drops: KeyedState
    tombstones: KeyedState
    sync_pool: Executor = field(default_factory=lambda: ThreadPoolExecutor(8, thread_name_prefix="sync"))
    """Syncs the files of a version side by side; its threads start with the first."""
    unsaved: dict[str, SiteRecords] = field(default_factory=dict)
    """Records that a full disk did not take."""
    problems: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """The problems of the sites asked about so far: judging a drop that is as it was opens no file."""
    said: set[str] = field(default_factory=set)
    """Remarks on what is ignored, so that a sweep does not repeat them."""

    def learn(self, known: KnownSite, stamp: Stamp | None = None) -> None:
        """Take over what is new about a site and publish what follows from it. `stamp` is that of the site.yaml that
        the settings come from, where they are new. Raises OSError and then changes nothing.
        """
        before = self.registry.get(known.site)
        affected = self.in_conflict_with(known.site)
        changed = self.registry.put(known)
        try:
            self.publish(changed)
        except OSError:
            self._unlearn(known.site, before)
            raise
        try:
            self.remember(known, stamp)
        except OSError as error:
            # What is published stands. Without its stamp the site.yaml is read again, and this tried again.
            logger.error("%s: what it declares could not be written down: %s", known.site, error.strerror)
        self.note_conflicts({*affected, *changed, *self.in_conflict_with(known.site)})

    def forget(self, site: str) -> None:
        """The site's names go back to main or to whoever else declares them. Raises OSError."""
        before = self.registry[site]
        affected = self.in_conflict_with(site) - {site}
        changed = self.registry.remove(site)
        try:
            self.publish(changed, removed=[site])
        except OSError:
            self._unlearn(site, before)
            raise
        try:
            self.declared.drop(site)
        except OSError as error:
            # The tombstone has been written before; the next start drops what is left.
            logger.error("%s: what it declared could not be dropped: %s", site, error.strerror)
        self.note_conflicts({*affected, *changed})

    def remember(self, known: KnownSite, stamp: Stamp | None = None, *, is_durable: bool = True) -> None:
        """Keep what the site declares beyond the next restart: its files may be gone by then."""
        kept = self.declared.get(known.site)
        settings = known.settings.model_dump(mode="json", exclude_defaults=True) if known.settings else None
        facts = {
            "host": known.host,
            "settings": settings,
            "stamp": list(stamp) if stamp else kept and kept["stamp"],
            "numbers": self.registry.numbers_of(known.site),
        }
        self.declared.put(known.site, facts, is_durable=is_durable)

    def publish(self, sites: Iterable[str], removed: Iterable[str] = ()) -> None:
        """Tell the workers what differs from what they were told last. Raises OSError."""
        entries = [self.registry.entry(site) for site in sorted(sites)]
        entries = [entry for entry in entries if self.journal.entries.get(entry.site) != entry]
        self.journal.publish(entries, [site for site in removed if site in self.journal.entries])

    def record(self, site: str, record: Record) -> Record:
        """Put an attempt on record, in the log too. What the disk does not take is kept in memory and said."""
        logger.log(
            _LEVELS[record.outcome], "%s: %s %s (%s): %s",
            site, record.doing, record.outcome.value, record.reason, record.message,
        )  # fmt: skip
        self._save(site, self.records(site).with_attempt(record))
        return record

    def set_problem(self, site: str, code: SiteProblem, message: str | None) -> None:
        """The problem stands with this message from now on, or, with None, no longer."""
        known = self.problems.get(site)
        if known is None:
            known = self.problems[site] = self.records(site).problems
        problems = tuple(each for each in known if each.code != code)
        if message is not None:
            problems = (*problems, Finding(code, message))
        if same_findings(problems, known):
            return
        if message is not None:
            logger.warning("%s: %s: %s", site, code.value, message)
        self.problems[site] = problems
        self._save(site, SiteRecords(self.records(site).attempts, problems))

    def say_once(self, remark: str) -> None:
        if remark not in self.said:
            self.said.add(remark)
            logger.warning("%s", remark)

    def records(self, site: str) -> SiteRecords:
        return self.unsaved.get(site) or read_records(self.layout, site)

    def last_drop(self, site: str) -> LastDrop | None:
        value = self.drops.get(site)
        return None if value is None else LastDrop.from_json(value)

    def close(self) -> None:
        self.sync_pool.shutdown()
        for each in (self.journal, self.declared, self.drops, self.tombstones):
            each.close()

    def _save(self, site: str, records: SiteRecords) -> None:
        try:
            write_records(self.layout, site, records)
        except OSError as error:
            logger.error("%s: the record could not be written (%s); it is kept in memory", site, error.strerror)
            self.unsaved[site] = records
        else:
            self.unsaved.pop(site, None)

    def _unlearn(self, site: str, before: KnownSite | None) -> None:
        """Back to what workers know; they were told nothing."""
        if before is None:
            self.registry.remove(site)
        else:
            self.registry.put(before)

    def in_conflict_with(self, site: str) -> set[str]:
        """The site and those with which it shares a name, if there are any."""
        return {each for conflict in self.registry.conflicts(site) for each in (conflict.owner, conflict.loser)}

    def note_conflicts(self, sites: Iterable[str]) -> None:
        """Set or clear the problem of these sites; both sides of a conflict are told."""
        for site in sites:
            if site in self.registry:
                messages = [
                    f"{conflict.name} is declared by {conflict.owner}, which has it, and by {conflict.loser}"
                    for conflict in self.registry.conflicts(site)
                ]
                self.set_problem(site, SiteProblem.NAME_CONFLICT, "; ".join(messages) or None)
