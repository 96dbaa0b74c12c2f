"""Who owns which name: two sites never serve the same one, and no drop takes over a name of another site.

A site claims names explicitly (its host and additional names; a bare site its folder's name) or, a bare site only,
implicitly out of its certificate. `owner` decides between claims on one name; `NameOwnership` keeps the answers for all
sites and returns after each change the sites whose names moved, at the cost of that one site's names. The sequence
numbers that decide between explicit claims go in and out as plain data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from certstore.model.names import covers, is_public_suffix
from certstore.model.snapshot import MAIN

_NEVER = 2**63


@dataclass(frozen=True, slots=True)
class SiteClaims:
    """What one site claims. `implicit` holds a bare site's candidates, as `implicit_names` returns them."""

    site: str
    host: str
    explicit: tuple[str, ...]
    implicit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """One site's claim on one name. `number` tells when the writer first saw it: the lower, the earlier."""

    site: str
    host: str
    is_explicit: bool
    number: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sites declare one name: `owner` has it, `loser` does not. Both report it."""

    name: str
    owner: str
    loser: str


def implicit_names(folder_host: str, dns_names: Collection[str], *, is_self_signed: bool) -> tuple[str, ...]:
    """The names that a bare site may take from its certificate: those in the domain that its folder's name shows.

    That domain is the direct parent of the folder's name (`webmail.client-a.com` shows `client-a.com`), or the folder's
    name itself where anybody may register below the parent. A self-signed certificate proves nothing and adds nothing.
    """
    if is_self_signed:
        return ()
    domain = folder_host.partition(".")[2]
    if not domain or is_public_suffix(domain):
        domain = folder_host
        if is_public_suffix(domain):
            return ()
    return tuple(name for name in dns_names if name != folder_host and _is_within(name, domain))


def _is_within(name: str, domain: str) -> bool:
    base = name.removeprefix("*.")
    if base != domain and not base.endswith(f".{domain}"):
        return False
    return base == name or not is_public_suffix(base)


def owner(name: str, claims: Iterable[Claim], main_certificate_names: Collection[str]) -> Claim | None:
    """The claim that wins: among explicit ones main's, else the earliest, and of equally early ones that of the site
    whose host the name is.

    Implicit claims count only when no site declares the name and the main certificate does not cover it.
    """
    best = min(claims, key=lambda claim: _rank(name, claim), default=None)
    if best is not None and not best.is_explicit and covers(main_certificate_names, name):
        return None
    return best


def _rank(name: str, claim: Claim) -> tuple[bool, bool, int, bool, str]:
    return not claim.is_explicit, claim.site != MAIN, claim.number, claim.host != name, claim.site


class NameOwnership:
    """The claims of all sites, and which site owns which name. Not safe for several threads.

    `numbers` holds what `numbers_of` gave before a restart, by site. A name that a site stops declaring loses its
    number there; when the site declares it again, it is the latest.
    """

    def __init__(
        self, numbers: Mapping[str, Mapping[str, int]] | None = None, main_certificate_names: Collection[str] = ()
    ) -> None:
        self._numbers = {site: dict(own) for site, own in (numbers or {}).items()}
        used = (number for own in self._numbers.values() for number in own.values())
        self._next_number = max(used, default=0) + 1
        self._main_certificate_names = frozenset(main_certificate_names)
        self._claims: dict[str, SiteClaims] = {}
        self._claimants: dict[str, set[str]] = {}
        self._owners: dict[str, str] = {}

    # Changes: each returns the sites whose owned names are no longer the same.

    def put(self, claims: SiteClaims) -> frozenset[str]:
        """Add or replace one site's claims."""
        return self.put_all((claims,))

    def put_all(self, several: Iterable[SiteClaims]) -> frozenset[str]:
        """As `put`, for sites that are seen at the same time: their new names get the same number."""
        batch = list(several)
        before = {claims.site: self.owned(claims.site) for claims in batch}
        touched: set[str] = set()
        for claims in batch:
            touched |= self._withdraw(claims.site)
            self._claims[claims.site] = claims
            for name in _names(claims):
                self._claimants.setdefault(name, set()).add(claims.site)
                touched.add(name)
            self._number(claims)
        self._next_number += 1
        changed = self._resolve(touched)
        # The same names in another order are a change too: a site's host comes first.
        return changed | {site for site, owned in before.items() if self.owned(site) != owned}

    def remove(self, site: str) -> frozenset[str]:
        """Take a site and its numbers out."""
        touched = self._withdraw(site)
        self._claims.pop(site, None)
        self._numbers.pop(site, None)
        return self._resolve(touched)

    def set_main_certificate_names(self, dns_names: Collection[str]) -> frozenset[str]:
        """The main certificate has changed: every implicit claim is decided again."""
        names = frozenset(dns_names)
        if names == self._main_certificate_names:
            return frozenset()
        self._main_certificate_names = names
        return self._resolve({name for claims in self._claims.values() for name in claims.implicit})

    # Answers

    def owned(self, site: str) -> tuple[str, ...]:
        """The names that a site owns, in the order of its claims."""
        claims = self._claims.get(site)
        if claims is None:
            return ()
        return tuple(name for name in _names(claims) if self._owners.get(name) == site)

    def is_declared(self, name: str) -> bool:
        """Whether a site declares exactly this name, which may be a wildcard."""
        return any(name in self._claims[site].explicit for site in self._claimants.get(name, ()))

    def conflicts(self, site: str) -> tuple[Conflict, ...]:
        """Every name that this site and another one both declare, no matter which of the two has it."""
        claims = self._claims.get(site)
        if claims is None:
            return ()
        found = []
        for name in dict.fromkeys(claims.explicit):
            has_it = self._owners[name]
            losers = [
                each for each in sorted(self._claimants[name]) if each != has_it and name in self._claims[each].explicit
            ]
            found += [Conflict(name, has_it, loser) for loser in losers if site in {has_it, loser}]
        return tuple(found)

    def numbers_of(self, site: str) -> dict[str, int]:
        """When each of the site's names was first declared, as a sequence number; a restart needs them again."""
        return dict(sorted(self._numbers.get(site, {}).items()))

    # Inside

    def _withdraw(self, site: str) -> set[str]:
        """Take a site's claims out of the index; returns the names whose owner may change."""
        claims = self._claims.get(site)
        if claims is None:
            return set()
        names = _names(claims)
        for name in names:
            claimants = self._claimants[name]
            claimants.discard(site)
            if not claimants:
                del self._claimants[name]
        return set(names)

    def _number(self, claims: SiteClaims) -> None:
        before = self._numbers.get(claims.site, {})
        self._numbers[claims.site] = {name: before.get(name, self._next_number) for name in claims.explicit}

    def _resolve(self, names: Iterable[str]) -> frozenset[str]:
        """Decide these names again; returns the sites that lost or gained one."""
        changed: set[str] = set()
        for name in names:
            claims = (self._claim(site, name) for site in self._claimants.get(name, ()))
            best = owner(name, claims, self._main_certificate_names)
            had = self._owners.get(name)
            has = best.site if best is not None else None
            if had == has:
                continue
            if has is None:
                del self._owners[name]
            else:
                self._owners[name] = has
            changed |= {site for site in (had, has) if site is not None}
        return frozenset(changed)

    def _claim(self, site: str, name: str) -> Claim:
        """An implicit claim is as old as the site's claim on its own host: an older site keeps what it has."""
        claims = self._claims[site]
        is_explicit = name in claims.explicit
        number = self._numbers[site].get(name if is_explicit else claims.host, _NEVER)
        return Claim(site, claims.host, is_explicit, number)


def _names(claims: SiteClaims) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*claims.explicit, *claims.implicit)))
