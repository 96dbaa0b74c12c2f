"""What this node's store holds, as the records that the nodes share: the other half of every comparison.

Reads through the writer; changes nothing and knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from certstore.model.cluster.records import HeadRecord, Removal, SiteRecord
from certstore.model.layout import SITE_YAML
from certstore.model.names import is_host_name
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.model.version import Version
from certstore.store.adoption import REPLICATE, Declaration, Removed
from certstore.store.versions import VersionUnusable, read_files, read_version
from certstore.store.writer import StoreWriter, UnknownVersion

_REPAIRS = ("mend", "self_signed")
_WITHOUT_HOST = "removed.invalid"
"""The host of a removed site whose key is none: the same on every node, whatever the site's host was."""


class LocalRecords:
    """The sites of one store. `node` is this node's name."""

    def __init__(self, writer: StoreWriter, node: str, clock: Callable[[], datetime]) -> None:
        self._writer = writer
        self._node = node
        self._clock = clock

    @property
    def kept_site_file(self) -> str:
        """Where the site.yaml of this node stays when that of another one replaces it."""
        return f"{SITE_YAML}.{self._node}"

    def now(self) -> datetime:
        return self._clock()

    def sites(self) -> list[str]:
        """Those that are there and those that were removed, main first."""
        return [*self._writer.sites(), *self._writer.removed_sites()]

    def site(self, site: str) -> SiteRecord | None:
        return self.site_as(site, self._writer.declaration(site))

    def site_as(self, site: str, declaration: Declaration | Removed | None) -> SiteRecord | None:
        """The record for what the writer has just said about the site."""
        if declaration is None:
            return None
        if isinstance(declaration, Removed):
            host = site if is_host_name(site) else _WITHOUT_HOST
            removal = Removal(declaration.at, self._node)
            return SiteRecord(site, host, None, {}, self._node, declaration.at, removal)
        settings = declaration.settings
        return SiteRecord(
            site,
            declaration.host,
            SiteSettings.model_validate(settings) if settings is not None else None,
            declaration.numbers,
            self._node,
            self._clock(),
        )

    def head_digest(self, site: str) -> str | None:
        """That of the live version's files; None where nothing is live or the site is gone."""
        live = self._live(site)
        return live.digest if live is not None else None

    def head(self, site: str) -> HeadRecord | None:
        """None where nothing is live. Raises OSError."""
        live = self._live(site)
        return None if live is None else self._record(live)

    def is_repair(self, site: str) -> bool:
        """Whether what is live was chosen by this node for lack of something better, as its own files were damaged or
        can't be served here. That is no news for others.
        """
        live = self._live(site)
        for record in reversed(self._writer.records(site)):
            if live is not None and record.outcome is Outcome.DONE and record.version == live.number:
                return record.doing in _REPAIRS
        return False

    def of_version(self, version: Version) -> HeadRecord:
        """A version of the archive. Raises OSError."""
        return self._record(version)

    def archived(self, site: str, digest: str) -> HeadRecord | None:
        """The version with this digest, if the archive still has it whole. Raises OSError."""
        for version in self._writer.versions(site):
            if version.digest == digest:
                return self._record(version)
        return None

    def predecessor(self, site: str) -> HeadRecord | None:
        """The version that a rollback would make live. Raises OSError."""
        try:
            number = self._writer.predecessor(site)
            return self._record(read_version(self._writer.layout, site, number))
        except (UnknownVersion, VersionUnusable):
            return None

    def _live(self, site: str) -> Version | None:
        return None if self._writer.declaration(site) is None else self._writer.live_version(site)

    def _record(self, version: Version) -> HeadRecord:
        files = read_files(self._writer.layout, version.site, version)
        doing, source, at = _origin(version), version.source, version.made_at
        for record in self._writer.records(version.site):
            if record.outcome is Outcome.DONE and record.version == version.number and record.doing != REPLICATE:
                doing, source, at = record.doing, record.source or source, record.at
        tried_with = self._writer.tried_with(version)
        return HeadRecord.of(version, files, doing=doing, source=source, by=self._node, at=at, tried_with=tried_with)


def _origin(version: Version) -> str:
    """How the version came to its first node, where this one has no record of it."""
    if version.source == "self-signed":
        return "self_signed"
    if version.source.startswith("import:"):
        return "import"
    return "order" if version.source.startswith("acme:") else "intake"
