"""What the overview shows of every site, kept up to date in the background, so that no request reads 10,000 files.

Watches the journal and the folder of records (one stat each when nothing is new). A site's facts are gathered again
only when its entry, its records, its renewal or, as time passes, its state has changed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from certstore.control.console import ConsoleContext
from certstore.model.certificate.expiry import CertificateState, certificate_state
from certstore.model.console.listing import SiteRow, Table
from certstore.model.console.standing import GRAVE, decide_status
from certstore.model.layout import site_of_records
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN, SiteEntry, Snapshot
from certstore.store.errors import UnknownSite
from certstore.store.journal import JournalReader, JournalUnreadable
from certstore.store.records import read_records
from certstore.store.status import SiteFacts, site_facts

logger = logging.getLogger(__name__)

_STAMP_SETTLES_NS = 2_000_000_000
"""A folder's time stamp is coarse: one younger than this may hide a second change."""


@dataclass(frozen=True, slots=True)
class View:
    """All sites at one moment. `table` has all but the main site; `generation` grows with every change."""

    main: SiteRow
    table: Table
    by_site: Mapping[str, SiteRow]
    snapshot: Snapshot
    generation: int


@dataclass(slots=True)
class _Known:
    entry: SiteEntry | None
    facts: SiteFacts
    renewal: RenewalState
    row: SiteRow


class SiteIndex:
    """`refresh` and `view` run on any thread."""

    def __init__(self, context: ConsoleContext, changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._lock = threading.Lock()
        self._reader = JournalReader(context.writer.layout)
        self._snapshot: Snapshot | None = None
        self._known: dict[str, _Known] = {}
        self._stamps: dict[str, int] = {}
        self._folder_stamp = -1
        self._minute: datetime | None = None
        self._view: View | None = None

    def view(self) -> View:
        """The view of the last refresh. The first call gathers the facts of every site."""
        view = self._view
        if view is None:
            self.refresh()
            view = self._view
        if view is None:
            raise JournalUnreadable("the list of sites is not ready yet")
        return view

    def refresh(self) -> None:
        """Apply what changed. Cheap if nothing did."""
        with self._lock:
            stale = self._changed_entries() | self._changed_records()
            minute = self._context.clock().replace(second=0, microsecond=0)
            if self._snapshot is None or not (stale or minute != self._minute):
                return
            if minute != self._minute:
                stale |= self._aged(minute)
            self._minute = minute
            if stale or self._view is None:
                self._rebuild(stale)

    def close(self) -> None:
        with self._lock:
            self._reader.close()

    # What changed

    def _changed_entries(self) -> set[str]:
        before = self._snapshot
        try:
            snapshot = self._reader.load() if before is None else self._reader.poll()
        except JournalUnreadable:
            return set()
        if snapshot is None:
            return set()
        self._snapshot = snapshot
        return snapshot.changed_since(before)

    def _changed_records(self) -> set[str]:
        folder = self._context.writer.layout.records_folder
        try:
            stamp = os.stat(folder).st_mtime_ns  # noqa: PTH116  asked every second
        except OSError:
            return set()
        if stamp == self._folder_stamp:
            return set()
        now = self._context.clock().timestamp() * 1e9
        self._folder_stamp = stamp if now - stamp > _STAMP_SETTLES_NS else -1
        found: dict[str, int] = {}
        with os.scandir(folder) as entries:
            for each in entries:
                if (site := site_of_records(each.name)) is not None:
                    try:
                        found[site] = each.stat().st_mtime_ns
                    except OSError:
                        continue
        before, self._stamps = self._stamps, found
        return {site for site in found | before if found.get(site) != before.get(site)}

    def _aged(self, now: datetime) -> set[str]:
        """Sites whose state changed as time passed, or whose renewal was decided again."""
        states = self._renewal_states()
        stale = set()
        for site, known in self._known.items():
            certificate = known.facts.certificate
            if certificate is not None:
                state = certificate_state(certificate.not_before, certificate.not_after, now)
                if state is not known.facts.state:
                    stale.add(site)
            if states.get(site, FRESH) is not known.renewal:
                stale.add(site)
        return stale

    def _renewal_states(self) -> Mapping[str, RenewalState]:
        upkeep = self._context.upkeep()
        return upkeep.maintenance.memory.states() if upkeep is not None else {}

    # Building the view

    def _rebuild(self, stale: set[str]) -> None:
        snapshot = self._snapshot
        if snapshot is None:
            return
        states = self._renewal_states()
        is_changed = self._view is None
        for site in stale:
            known = self._gather(site, snapshot.sites.get(site), states.get(site, FRESH))
            before = self._known.get(site)
            if known is None:
                is_changed = self._known.pop(site, None) is not None or is_changed
                continue
            self._known[site] = known
            is_changed = is_changed or before is None or before.facts != known.facts or before.row != known.row
        if not is_changed or MAIN not in self._known:
            return
        by_site = {site: known.row for site, known in self._known.items()}
        table = Table(row for site, row in by_site.items() if site != MAIN)
        generation = self._view.generation + 1 if self._view is not None else 1
        self._view = View(by_site[MAIN], table, MappingProxyType(by_site), snapshot, generation)
        self._changed()

    def _gather(self, site: str, entry: SiteEntry | None, renewal: RenewalState) -> _Known | None:
        """None for a folder that is not a site and has no problem that keeps it from becoming one."""
        writer, now = self._context.writer, self._context.clock()
        if entry is None:
            records = read_records(writer.layout, site)
            if not records.problems:
                return None
            facts = SiteFacts(site, "", (), None, None, CertificateState.NONE, records.problems, records.last_attempt)
        else:
            try:
                facts = site_facts(writer, site, now)
            except UnknownSite:
                return None  # removed a moment ago; the journal will show it
        return _Known(entry, facts, renewal, self._row(entry, facts, renewal))

    def _row(self, entry: SiteEntry | None, facts: SiteFacts, renewal: RenewalState) -> SiteRow:
        source = Source(facts.source) if facts.source is not None else None
        is_ordered = source is Source.ACME
        is_failing = is_ordered and renewal.failure is not None
        certificate = facts.certificate
        codes = [str(problem.code) for problem in facts.problems]
        messages = sorted(facts.problems, key=lambda each: str(each.code) not in GRAVE)
        headline = messages[0].message if messages else ""
        if is_failing and renewal.failure is not None and not (messages and str(messages[0].code) in GRAVE):
            headline = renewal.failure.detail
        return SiteRow(
            site=facts.site,
            host=facts.host or facts.site,
            names=facts.names,
            source=source,
            standing=decide_status(source, facts.state, codes, is_order_failing=is_failing),
            not_before=certificate.not_before if certificate is not None else None,
            not_after=certificate.not_after if certificate is not None else None,
            renews_at=self._renews_at(entry, renewal) if entry is not None and is_ordered else None,
            headline=headline,
            problems=len(codes) + is_failing,
            text=" ".join((facts.site, *facts.names)).lower(),
        )

    def _renews_at(self, entry: SiteEntry, renewal: RenewalState) -> datetime | None:
        """When the next order is due: the next attempt after a failure, otherwise the renewal."""
        upkeep = self._context.upkeep()
        at = upkeep.maintenance.next_renewal(entry, renewal).at if upkeep is not None else renewal.next_attempt
        return at.astimezone(UTC) if at is not None else None
