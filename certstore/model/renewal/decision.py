"""When to order a site's certificate: the one decision of renewal, by the certificate's lifetime and the CA's window.

`decide_renewal` returns `Renew(reason)` or `Keep(until)`. `state` keeps what happened then and when to try again. Pure:
the time and the fraction that spreads thousands of sites are arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from certstore.model.certificate.expiry import warning_begins
from certstore.model.renewal.state import RenewalState, SuggestedWindow
from certstore.model.settings.models import Source

SHORT_LIFETIME = timedelta(days=10)
LONGEST_WAIT = timedelta(days=10)
"""No attempt waits longer: backoff takes two days at most, a limit of the CA a week (`rate_limits`). A time that lies
further ahead was written while the clock was wrong, as on machines that start without one, and would stop renewals
until then."""


class Origin(StrEnum):
    """Where the live version came from. With `certificate: acme`, an imported one is renewed when its time comes, and a
    file is replaced by an order at once."""

    ACME = "acme"
    IMPORTED = "imported"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class LiveCertificate:
    """What renewal needs to know about a served version. `ca` is the key of the CA, if we ordered it. `is_exposed`:
    somebody else knows its private key.
    """

    fingerprint: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    origin: Origin
    ca: str | None = None
    is_exposed: bool = False

    @property
    def lifetime(self) -> timedelta:
        return self.not_after - self.not_before

    @property
    def endangered_from(self) -> datetime:
        """When its warning window begins."""
        return warning_begins(self.not_before, self.not_after)


@dataclass(frozen=True, slots=True)
class SiteToRenew:
    """A site as renewal sees it: `names` has its host first, and `cas` the keys of the CAs that are configured now.

    `request` is a text that changes with everything that an order depends on (names, key type, profile, CA).
    """

    site: str
    names: tuple[str, ...]
    source: Source
    live: LiveCertificate | None
    cas: Collection[str] = ()
    request: str = ""

    @property
    def host(self) -> str:
        return self.names[0]


class RenewalReason(StrEnum):
    FIRST = "first"
    KEY_EXPOSED = "key_exposed"
    CA_CHANGED = "ca_changed"
    NAMES_CHANGED = "names_changed"
    NAME_RETURNS = "name_returns"
    SUGGESTED_WINDOW = "suggested_window"
    LIFETIME = "lifetime"
    ASKED_FOR = "asked_for"


@dataclass(frozen=True, slots=True)
class Keep:
    """Order nothing before `until`, or before something changes if it is None."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Renew:
    reason: RenewalReason


def is_endangered(live: LiveCertificate, now: datetime) -> bool:
    return now >= live.endangered_from


def decide_renewal(site: SiteToRenew, state: RenewalState, now: datetime, *, fraction: float) -> Keep | Renew:
    """`fraction` in [0, 1) places the site within the window, and stays the same for one certificate.

    After a failed attempt the site waits (`state.next_attempt`), unless the order would be a different one now.
    """
    if site.source is not Source.ACME:
        return Keep(None)
    decision = _wanted(site, state, now, fraction)
    if isinstance(decision, Renew) and state.next_attempt is not None and _is_ahead(state.next_attempt, now):
        return Keep(state.next_attempt) if state.request == site.request else decision
    return decision


def _wanted(site: SiteToRenew, state: RenewalState, now: datetime, fraction: float) -> Keep | Renew:
    """The decision as if no attempt had failed."""
    live = site.live
    if live is None or live.origin is Origin.FILE:
        return Renew(RenewalReason.FIRST)
    if live.is_exposed:
        return Renew(RenewalReason.KEY_EXPOSED)
    if live.ca is not None and live.ca not in site.cas:
        return Renew(RenewalReason.CA_CHANGED)
    instant, reason = renewal_instant(live, state, fraction)
    if now >= instant:
        return Renew(reason)
    missing = set(site.names) - set(live.dns_names)
    if missing - set(state.left_out):
        return Renew(RenewalReason.NAMES_CHANGED)
    if missing and state.recheck_at is not None:
        if not _is_ahead(state.recheck_at, now):
            return Renew(RenewalReason.NAME_RETURNS)
        return Keep(min(instant, state.recheck_at))
    return Keep(instant)


def _is_ahead(instant: datetime, now: datetime) -> bool:
    """Whether to wait for a stored time; one that is too far ahead does not count."""
    return now < instant <= now + LONGEST_WAIT


def renewal_instant(live: LiveCertificate, state: RenewalState, fraction: float) -> tuple[datetime, RenewalReason]:
    """When to renew this certificate, and why: in the CA's window if there is a valid one, or by its lifetime."""
    window = state.window_for(live.fingerprint)
    if window is not None and window.is_valid:
        return _within(window, live, fraction), RenewalReason.SUGGESTED_WINDOW
    return _by_lifetime(live, fraction), RenewalReason.LIFETIME


def _by_lifetime(live: LiveCertificate, fraction: float) -> datetime:
    """When the last third of the lifetime begins, or the last half of a short one, spread over a part of it."""
    lifetime = live.lifetime
    if lifetime < SHORT_LIFETIME:
        return live.not_before + lifetime / 2 + lifetime / 10 * fraction
    return live.not_before + lifetime * 2 / 3 + lifetime / 15 * fraction


def _within(window: SuggestedWindow, live: LiveCertificate, fraction: float) -> datetime:
    """RFC 9773 §4.2: a uniformly random time in the window; one in the past means now.

    Bounded on both sides, as a CA may err: never so late that no time is left to repair what fails, and never so early
    that a window that always lies in the past leads to orders without end.
    """
    instant = window.start + (window.end - window.start) * fraction
    earliest = live.not_before + min(live.lifetime / 20, timedelta(hours=12))
    latest = live.endangered_from - (live.not_after - live.endangered_from)
    return min(max(instant, earliest), max(latest, earliest))


@dataclass(frozen=True, slots=True)
class NextRenewal:
    """When a site is ordered for next. `due` and `reason` follow from its certificate, and are None without one;
    `next_attempt` is set while a failed or held-back attempt waits."""

    due: datetime | None
    reason: RenewalReason | None
    next_attempt: datetime | None

    @property
    def at(self) -> datetime | None:
        return self.next_attempt or self.due


def next_renewal(site: str, live: LiveCertificate | None, state: RenewalState) -> NextRenewal:
    """For people: `decide_renewal` has the last word when the time has come."""
    due, reason = renewal_instant(live, state, fraction_of(site, live)) if live is not None else (None, None)
    return NextRenewal(due, reason, state.next_attempt)


def fraction_of(site: str, live: LiveCertificate | None) -> float:
    """Where in its window this certificate is renewed: as good as random, and the same for its whole life."""
    return place_of(f"{site} {live.fingerprint}") if live is not None else 0.0


def place_of(text: str) -> float:
    """A number in [0, 1), as good as random and always the same for one text: it spreads sites over time without a
    record of where each was put."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / (1 << 48)
