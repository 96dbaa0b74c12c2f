"""The immutable index that a worker serves from.

A snapshot holds, for every site, which names the site owns and which certificate version is live. Names arrive here
already resolved (two sites never own one name), so finding a name takes two dictionary look-ups and no decision. Knows
nothing of files, sockets or clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from certstore.model.settings.models import Source, Upstream

MAIN = "main"
"""The key of the main site: reserved, never that of a domain."""


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """The facts of one live version that selection and reports need; the PEM files stay on disk.

    `site` and `version` name the folder of the version; `fingerprint` is the SHA-256 of the leaf's DER, lower-case hex.
    """

    site: str
    version: int
    fingerprint: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_self_signed: bool = False
    has_rsa_pair: bool = False


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """One site as workers see it: `names` are those that it owns, its host first, A-labels or one-label wildcards.

    `certificate` is None while the site has none, or while its `source` is the main certificate.
    """

    site: str
    host: str
    names: tuple[str, ...]
    source: Source
    certificate: ServedCertificate | None
    inspect: bool = False
    upstreams: tuple[Upstream, ...] | None = None
    """The site's own web servers; None means those of edge.yaml."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every site by key and by owned name. Values are never changed in place: `with_changes` builds the next one."""

    main: SiteEntry
    sites: Mapping[str, SiteEntry] = field(repr=False)
    by_name: Mapping[str, SiteEntry] = field(repr=False)

    @classmethod
    def build(cls, entries: Iterable[SiteEntry]) -> Snapshot:
        """Build from all entries, main among them; raises ValueError when main or its certificate is missing."""
        sites = {entry.site: entry for entry in entries}
        return cls._from(sites, {name: entry for entry in sites.values() for name in entry.names})

    def with_changes(self, changed: Iterable[SiteEntry], removed: Iterable[str] = ()) -> Snapshot:
        """The next snapshot. A name that moved from one changed site to another belongs to its new owner."""
        sites, by_name = dict(self.sites), dict(self.by_name)
        entries = list(changed)
        for site in [*removed, *(entry.site for entry in entries)]:
            old = sites.pop(site, None)
            for name in old.names if old else ():
                if (holder := by_name.get(name)) is not None and holder.site == site:
                    del by_name[name]
        for entry in entries:
            sites[entry.site] = entry
            by_name.update(dict.fromkeys(entry.names, entry))
        return self._from(sites, by_name)

    def changed_since(self, before: Snapshot | None) -> set[str]:
        """The sites whose entry was another one in `before`, or that are gone; all sites when there is no `before`.

        Compares by identity, as `with_changes` takes over entries that did not change.
        """
        if before is None:
            return set(self.sites)
        changed = {site for site, entry in self.sites.items() if before.sites.get(site) is not entry}
        return changed | (before.sites.keys() - self.sites.keys())

    @classmethod
    def _from(cls, sites: dict[str, SiteEntry], by_name: dict[str, SiteEntry]) -> Snapshot:
        main = sites.get(MAIN)
        if main is None or main.certificate is None:
            raise ValueError("a snapshot needs the main site and its certificate")
        return cls(main, MappingProxyType(sites), MappingProxyType(by_name))


def encode_entry(entry: SiteEntry) -> dict[str, Any]:
    """A JSON-able dictionary with short keys: one line of the journal, of which a starting worker reads thousands."""
    line: dict[str, Any] = {"site": entry.site, "host": entry.host, "names": entry.names, "source": entry.source.value}
    if entry.inspect:
        line["inspect"] = True
    if entry.upstreams is not None:
        line["upstreams"] = [upstream.model_dump(mode="json", exclude_defaults=True) for upstream in entry.upstreams]
    if (certificate := entry.certificate) is not None:
        line["certificate"] = [
            certificate.site,
            certificate.version,
            certificate.fingerprint,
            certificate.dns_names,
            int(certificate.not_before.timestamp()),
            int(certificate.not_after.timestamp()),
            certificate.is_self_signed,
            certificate.has_rsa_pair,
        ]
    return line


def decode_entry(line: Mapping[str, Any]) -> SiteEntry:
    """The inverse of `encode_entry`; raises KeyError, TypeError or ValueError on anything else.

    A site's key stands in half a dozen places, and is one string here. Not an interned one: Python 3.12 never frees
    those, and a client may bring new names with every drop.
    """
    known: dict[str, str] = {}

    def one(text: str) -> str:
        return known.setdefault(text, text)

    certificate = None
    if (fields := line.get("certificate")) is not None:
        site, version, fingerprint, dns_names, not_before, not_after, is_self_signed, has_rsa_pair = fields
        certificate = ServedCertificate(
            one(site),
            version,
            fingerprint,
            tuple(map(one, dns_names)),
            _instant(not_before),
            _instant(not_after),
            is_self_signed,
            has_rsa_pair,
        )
    upstreams = line.get("upstreams")
    return SiteEntry(
        site=one(line["site"]),
        host=one(line["host"]),
        names=tuple(map(one, line["names"])),
        source=Source(line["source"]),
        certificate=certificate,
        inspect=line.get("inspect", False),
        upstreams=None if upstreams is None else tuple(Upstream.model_validate(item) for item in upstreams),
    )


def _instant(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as error:  # which of the two depends on the size
        raise ValueError(f"{seconds!r} is not an instant") from error
