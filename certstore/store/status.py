"""What status, console and API show of sites and of a site's versions: the same facts for all of them.

Works on the reading side of a store without a lock, and on the writer, which answers from memory. Only gathers: the
state of a certificate is decided in `model.certificate.expiry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.model.certificate.expiry import CertificateState, certificate_state
from certstore.model.certificate.findings import Finding, Problem
from certstore.model.layout import RECORDS
from certstore.model.names import covers
from certstore.model.record import Record
from certstore.model.renewal.revocation import Revocation
from certstore.model.snapshot import ServedCertificate, SiteEntry
from certstore.model.text import listed
from certstore.model.version import Version
from certstore.store.reader import Store
from certstore.store.records import read_records
from certstore.store.revocations import read_revocation


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """One site now. `certificate` is None while the site has none; `host` is empty where a folder could not become a
    site yet (`problems` tell why).
    """

    site: str
    host: str
    names: tuple[str, ...]
    source: str | None
    certificate: ServedCertificate | None
    state: CertificateState
    problems: tuple[Finding, ...]
    last_attempt: Record | None

    def to_json(self) -> dict[str, Any]:
        """The form of `status --json`."""
        certificate = self.certificate
        return {
            "site": self.site,
            "host": self.host,
            "names": list(self.names),
            "source": self.source,
            "version": certificate.version if certificate else None,
            "fingerprint": certificate.fingerprint if certificate else None,
            "dns_names": list(certificate.dns_names) if certificate else [],
            "not_after": certificate.not_after.isoformat() if certificate else None,
            "state": self.state.value,
            "problems": [each.to_json() for each in self.problems],
            "last_attempt": self.last_attempt.to_json() if self.last_attempt else None,
        }


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version of a site in the archive."""

    version: Version
    is_live: bool
    revocation: Revocation | None = None

    def to_json(self) -> dict[str, Any]:
        version, facts = self.version, self.version.to_json()
        same = ("made_at", "source", "fingerprint", "dns_names", "not_before", "not_after", "issuer", "serial")
        return {
            "version": version.number,
            "is_live": self.is_live,
            "revoked": self.revocation.to_json() if self.revocation is not None else None,
            **{name: facts[name] for name in same},
            "key": f"{version.key_kind} {version.key_bits}" + (" + rsa" if version.has_rsa_pair else ""),
            "problems": [each.to_json() for each in version.problems],
        }


def status(store: Store, now: datetime) -> list[SiteFacts]:
    """All sites, main first, then folders that could not become one. Raises JournalUnreadable on the reading side."""
    snapshot = store.snapshot()
    others = sorted(site for site in snapshot.sites if site != snapshot.main.site)
    facts = [_facts(store, snapshot.sites[site], now) for site in (snapshot.main.site, *others)]
    return facts + [each for each in _unfinished(store) if each.site not in snapshot.sites]


def site_facts(store: Store, site: str, now: datetime) -> SiteFacts:
    """Raises UnknownSite, or JournalUnreadable on the reading side."""
    return _facts(store, store.site(site), now)


def history(store: Store, site: str) -> list[VersionFacts]:
    """The versions that can be made live again, newest first."""
    live = store.live_version(site)
    return [
        VersionFacts(
            version,
            live is not None and version.number == live.number,
            read_revocation(store.layout, site, version.number),
        )
        for version in store.versions(site)
    ]


def _facts(store: Store, entry: SiteEntry, now: datetime) -> SiteFacts:
    certificate = entry.certificate
    state = CertificateState.NONE
    problems = list(store.problems(entry.site))
    if certificate is not None:
        state = certificate_state(certificate.not_before, certificate.not_after, now)
        problems += _certificate_problems(store, entry, certificate, state)
    attempts = store.records(entry.site)
    return SiteFacts(
        site=entry.site,
        host=entry.host,
        names=entry.names,
        source=entry.source.value,
        certificate=certificate,
        state=state,
        problems=tuple(problems),
        last_attempt=attempts[-1] if attempts else None,
    )


def _certificate_problems(
    store: Store, entry: SiteEntry, certificate: ServedCertificate, state: CertificateState
) -> Iterator[Finding]:
    """Problems that depend on the date and the names are found now; the others were noted when the version was made."""
    if state is CertificateState.EXPIRED:
        yield Finding(Problem.EXPIRED, f"the certificate expired on {certificate.not_after:%Y-%m-%d}")
    elif state is CertificateState.NOT_YET_VALID:
        yield Finding(Problem.NOT_YET_VALID, f"the certificate is not valid before {certificate.not_before:%Y-%m-%d}")
    elif state is CertificateState.WARNING:
        yield Finding("expires_soon", f"the certificate expires on {certificate.not_after:%Y-%m-%d}")
    if uncovered := [name for name in entry.names if not covers(certificate.dns_names, name)]:
        yield Finding(Problem.NAME_NOT_COVERED, f"the certificate does not cover {listed(uncovered)}")
    version = store.live_version(entry.site)
    lasting = (
        *(Problem.MISSING_INTERMEDIATE, Problem.SELF_SIGNED),
        *(Problem.INTERMEDIATE_EXPIRED, Problem.INTERMEDIATE_NOT_YET_VALID),
        *(Problem.MUST_STAPLE, Problem.CLIENTS_REFUSE, Problem.MANY_NAMES, Problem.RARE_KEY),
    )
    if version is not None:
        yield from (each for each in version.problems if each.code in lasting)


def _unfinished(store: Store) -> Iterator[SiteFacts]:
    """Folders that would be sites if their site.yaml could be used."""
    for site in sorted(path.stem for path in store.layout.records_folder.glob(RECORDS)):
        records = read_records(store.layout, site)
        if records.problems:
            yield SiteFacts(site, "", (), None, None, CertificateState.NONE, records.problems, records.last_attempt)
