"""All sites as the writer knows them, in memory: settings, what is live, who owns which name, and their entries.

No files: a change goes in, and the sites whose entries may have changed by it come out, because one site's names decide
about another's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from certstore.model.name_ownership import Conflict, NameOwnership, SiteClaims, implicit_names
from certstore.model.names import wildcard_for
from certstore.model.settings.models import NAMES_LIMIT, SiteSettings, Source
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry


@dataclass(frozen=True, slots=True)
class KnownSite:
    """`settings` is None for a bare site, whose `host` is its folder's name. `served` describes the live version.

    `has_drop`: a drop has been seen. It decides where the certificate comes from when no setting does.
    """

    site: str
    host: str
    settings: SiteSettings | None = None
    served: ServedCertificate | None = None
    has_drop: bool = False

    @property
    def declared_names(self) -> tuple[str, ...]:
        return self.settings.names if self.settings else (self.host,)

    @property
    def expected_names(self) -> tuple[str, ...]:
        """The site's certificate has to cover one of these. A main site without settings expects none."""
        return () if self.is_unnamed_main else self.declared_names

    @property
    def is_unnamed_main(self) -> bool:
        return self.site == MAIN and self.settings is None

    def with_served(self, served: ServedCertificate) -> KnownSite:
        """The same site with another live version; a main site without a site.yaml takes its host from it."""
        hosts = [name for name in served.dns_names if not name.startswith("*.")]
        host = hosts[0] if self.is_unnamed_main and hosts and not served.is_self_signed else self.host
        return replace(self, served=served, host=host)

    @property
    def source(self) -> Source:
        """Where the certificate comes from. The main site has no other site's certificate to fall back on."""
        chosen = self.settings.certificate if self.settings else None
        if self.site == MAIN:
            return Source.ACME if chosen is Source.ACME else Source.FILE
        return chosen or (Source.FILE if self.has_drop or self.served else Source.MAIN)

    @property
    def claims(self) -> SiteClaims:
        """A bare site may also claim names of its certificate that are close to its own."""
        implicit: tuple[str, ...] = ()
        if self.settings is None and self.served is not None and self.site != MAIN:
            certificate = self.served
            implicit = implicit_names(self.host, certificate.dns_names, is_self_signed=certificate.is_self_signed)
        return SiteClaims(self.site, self.host, self.declared_names, implicit[: NAMES_LIMIT - 1])


class SiteRegistry(Mapping[str, KnownSite]):
    """The sites by key. `put` and `remove` return the sites whose entries may differ from before, the site included."""

    def __init__(self, ownership: NameOwnership) -> None:
        self._ownership = ownership
        self._sites: dict[str, KnownSite] = {}
        self._site_of_host: dict[str, str] = {}

    def __getitem__(self, site: str) -> KnownSite:
        return self._sites[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def put(self, known: KnownSite) -> set[str]:
        """Add or replace one site."""
        return set() if self._sites.get(known.site) == known else self.put_all([known])

    def put_all(self, several: Collection[KnownSite]) -> set[str]:
        """Add or replace sites that were seen at the same moment: none of them is earlier than the others."""
        changed = {known.site for known in several}
        claims = []
        for known in several:
            before = self._sites.get(known.site)
            self._sites[known.site] = known
            if before is not None and before.host != known.host:
                self._release_host(before)
            self._site_of_host.setdefault(known.host, known.site)
            if before is None or before.claims != known.claims:
                claims.append(known.claims)
        if claims:
            changed |= self._ownership.put_all(claims)
        main = self._sites.get(MAIN)
        if main is not None and main.served is not None and MAIN in changed:
            changed |= self._ownership.set_main_certificate_names(main.served.dns_names)
        return changed & self._sites.keys()

    def remove(self, site: str) -> set[str]:
        known = self._sites.pop(site, None)
        if known is None:
            return set()
        self._release_host(known)
        return set(self._ownership.remove(site)) & self._sites.keys()

    def site_of_host(self, host: str) -> str | None:
        return self._site_of_host.get(host)

    def entry(self, site: str) -> SiteEntry:
        """The site as workers see it."""
        known = self._sites[site]
        settings = known.settings
        return SiteEntry(
            site=site,
            host=known.host,
            names=tuple(self._ownership.owned(site)),
            source=known.source,
            certificate=None if known.source is Source.MAIN else known.served,
            inspect=settings.inspect if settings else False,
            upstreams=settings.upstream if settings else None,
        )

    def _release_host(self, known: KnownSite) -> None:
        """Give the host of `known` to another site with the same host, if there is one: two sites may claim it."""
        if self._site_of_host.get(known.host) != known.site:
            return
        del self._site_of_host[known.host]
        others = (each.site for each in self._sites.values() if each.host == known.host and each.site != known.site)
        if (other := next(others, None)) is not None:
            self._site_of_host[known.host] = other

    def declared_wildcard(self, name: str) -> str | None:
        """The wildcard that matches the name, where a site declares it."""
        wildcard = wildcard_for(name)
        return wildcard if wildcard is not None and self._ownership.is_declared(wildcard) else None

    def numbers_of(self, site: str) -> dict[str, int]:
        """As `NameOwnership.numbers_of`."""
        return self._ownership.numbers_of(site)

    def conflicts(self, site: str) -> tuple[Conflict, ...]:
        return self._ownership.conflicts(site)
