"""The store's sites as renewal and warnings see them: facts from the snapshot, site.yaml and the versions.

Reads through the writer, which answers from memory and takes its own lock. Decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from certstore.model.challenge import BY_ZONE, USUAL_CHALLENGES, ChallengeType
from certstore.model.notify.warnings import WatchedSite
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.decision import LiveCertificate, Origin, SiteToRenew
from certstore.model.renewal.preflight_facts import CannotProve
from certstore.model.renewal.rate_limits import registered_domain
from certstore.model.renewal.state import RenewalState
from certstore.model.settings.models import AcmeSettings, KeyType, SiteSettings, Source
from certstore.model.snapshot import SiteEntry
from certstore.store.drops.ownership import tenant_of
from certstore.store.writer import StoreWriter, UnknownSite

ACME_SOURCE, IMPORT_SOURCE = "acme:", "import:"
"""How a version's `source` begins if we ordered it (the CA's key follows) or imported it from another program."""


class RenewalSites:
    """`cas` are the configured ones, in their order."""

    def __init__(self, writer: StoreWriter, acme: AcmeSettings, cas: Sequence[Ca]) -> None:
        self._writer = writer
        self._acme = acme
        self._cas = tuple(ca.key for ca in cas)
        self._origins: dict[tuple[str, int], tuple[Origin, str | None, datetime | None]] = {}

    def settings(self, site: str) -> SiteSettings | None:
        with suppress(UnknownSite):
            return self._writer.settings(site)
        return None

    def profile(self, site: str) -> str | None:
        own = self.settings(site)
        return own.profile if own is not None and own.profile is not None else self._acme.profile

    def key_type(self, site: str) -> KeyType:
        own = self.settings(site)
        return own.key_type if own is not None and own.key_type is not None else self._acme.key_type

    def challenges(self, site: str) -> tuple[ChallengeType, ...]:
        """The ways to prove the site's names, in the order to try them."""
        own = self.settings(site)
        return (own.challenges if own is not None else None) or self._acme.challenges or USUAL_CHALLENGES

    def barred(self, site: str) -> dict[str, CannotProve]:
        """The ways that are not for the site, as its name may be one that a tenant made up: the edge may write zones of
        others, and would prove any name in them. The ways are left for which the name has to lead here."""
        if (why := self._writer.doubt_of_name(site)) is None:
            return {}
        cannot = CannotProve(
            f"no administrator has named the site {site}, and {why}, so no DNS record may prove its name",
            f"If the name belongs to whoever made the site, adopt it: certedge site adopt {site}",
            is_missing=True,
        )
        return dict.fromkeys(BY_ZONE, cannot)

    def to_renew(self, entry: SiteEntry) -> SiteToRenew | None:
        """None where nothing can be ordered, because the host belongs to another site."""
        names = entry.names
        if entry.host not in names:
            return None
        ordered = (entry.host, *(name for name in names if name != entry.host))
        return SiteToRenew(
            entry.site, ordered, entry.source, self.live(entry), self._cas, self._request(entry, ordered)
        )

    def reuses_key(self, site: str) -> bool:
        own = self.settings(site)
        return own.reuse_key if own is not None and own.reuse_key is not None else self._acme.reuse_key

    def tenant(self, entry: SiteEntry) -> str:
        """Whose site it is, as far as we can tell: whoever drops its files, or else whoever has its domain."""
        tenant = tenant_of(self._writer.layout, entry.site)
        return registered_domain(entry.host) if tenant == f"site {entry.site}" else tenant

    def watched(self, entry: SiteEntry, state: RenewalState) -> WatchedSite:
        own = self.settings(entry.site)
        contact = own.contact if own is not None else ()
        return WatchedSite(entry.site, entry.names or (entry.host,), entry.source, self.live(entry), state, contact)

    def live(self, entry: SiteEntry) -> LiveCertificate | None:
        served = entry.certificate
        if served is None:
            return None
        origin, ca, made_at = self._origin(served.site, served.version, entry.source)
        exposed_before = self._writer.exposed_before
        is_exposed = made_at is not None and exposed_before is not None and made_at < exposed_before
        return LiveCertificate(
            served.fingerprint, served.dns_names, served.not_before, served.not_after, origin, ca, is_exposed
        )

    def _origin(self, site: str, version: int, source: Source) -> tuple[Origin, str | None, datetime | None]:
        """And when it was made. Read once from the version's facts. Of no interest for sites whose certificate is not
        ordered.
        """
        if source is not Source.ACME:
            return Origin.FILE, None, None
        key = (site, version)
        if key not in self._origins:
            live = self._writer.live_version(site)
            if live is not None and live.number == version:
                self._origins[key] = *_parse_origin(live.source), live.made_at
            else:
                self._origins[key] = *_parse_origin(""), None
        return self._origins[key]

    def _request(self, entry: SiteEntry, names: Sequence[str]) -> str:
        """A text that changes with everything that could make a failed order succeed."""
        acme = self._acme
        parts = [
            *names,
            self.key_type(entry.site),
            self.profile(entry.site) or "",
            *self._cas,
            *self.challenges(entry.site),
            acme.dns.model_dump_json() if acme.dns is not None else "",
            *acme.contact,
            str(acme.agree_to_terms),
            acme.external_account.key_id if acme.external_account else "",
            *(["reuse_key"] if self.reuses_key(entry.site) else []),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _parse_origin(source: str) -> tuple[Origin, str | None]:
    if source.startswith(ACME_SOURCE):
        return Origin.ACME, source.removeprefix(ACME_SOURCE)
    if source.startswith(IMPORT_SOURCE):
        return Origin.IMPORTED, None
    return Origin.FILE, None
