"""Reads a store, without a lock and without a running service."""

from __future__ import annotations

from pathlib import Path

from certstore.files.keyed_state import read_value
from certstore.model.certificate.findings import Finding
from certstore.model.layout import Layout
from certstore.model.record import Record
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.snapshot import MAIN, SiteEntry, Snapshot
from certstore.model.version import Version
from certstore.store.errors import UnknownSite
from certstore.store.journal import JournalReader
from certstore.store.records import read_records
from certstore.store.versions import read_live, read_versions


class Store:
    """The reading side. Answers are as of the moment of the call."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @classmethod
    def open(cls, root: Path) -> Store:
        return cls(Layout(Path(root)))

    def snapshot(self) -> Snapshot:
        """What workers serve from. Raises JournalUnreadable while there is none."""
        reader = JournalReader(self.layout)
        try:
            return reader.load()
        finally:
            reader.close()

    def sites(self) -> tuple[str, ...]:
        """Keys, main first, then in their order. Raises JournalUnreadable."""
        return tuple(sorted(self.snapshot().sites, key=lambda site: (site != MAIN, site)))

    def site(self, site: str) -> SiteEntry:
        """Raises UnknownSite or JournalUnreadable."""
        entry = self.snapshot().sites.get(site)
        if entry is None:
            raise UnknownSite(site)
        return entry

    def renewal(self, site: str) -> RenewalState:
        """What renewal remembers of the site. Raises OSError where this user may not read it."""
        facts = read_value(self.layout.renewals, site)
        try:
            return RenewalState.from_json(facts) if isinstance(facts, dict) else FRESH
        except ValueError:
            return FRESH

    def versions(self, site: str) -> tuple[Version, ...]:
        """The complete versions, newest first."""
        return tuple(read_versions(self.layout, site))

    def live_version(self, site: str) -> Version | None:
        """The version that `live` names, when it is complete."""
        return read_live(self.layout, site)

    def records(self, site: str) -> tuple[Record, ...]:
        """The last attempts, oldest first."""
        return read_records(self.layout, site).attempts

    def problems(self, site: str) -> tuple[Finding, ...]:
        """The problems that stand until somebody solves them; those of the certificate are in its version."""
        return read_records(self.layout, site).problems
