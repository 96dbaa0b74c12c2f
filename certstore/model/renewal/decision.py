"""When a site's certificate is to be ordered: the one decision of renewal, by its life and by the CA's wish.

`decide_renewal` says `Renew(reason)` or `Keep(until)`; what happens then, and when to try again, is kept in
`renewal_state`. Pure: time, and the fraction that spreads thousands of sites, are arguments.
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
"""Nothing puts an attempt off for longer: backoff does for two days, a limit of the CA for a week (`ca_limits`). What
lies further ahead was written down while the clock was wrong, as it is on machines that start without one, and would
stop renewals until that date."""


class Origin(StrEnum):
    """Who made the live version. An imported one is renewed when its time comes, a file is replaced by an order at
    once when the site says `acme`."""

    ACME = "acme"
    IMPORTED = "imported"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class LiveCertificate:
    """What renewal needs to know of a served version; `ca` is the key of the CA that issued it, where we ordered it."""

    fingerprint: str
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    origin: Origin
    ca: str | None = None

    @property
    def lifetime(self) -> timedelta:
        return self.not_after - self.not_before

    @property
    def endangered_from(self) -> datetime:
        """When its warning window opens."""
        return warning_begins(self.not_before, self.not_after)


@dataclass(frozen=True, slots=True)
class SiteToRenew:
    """A site as renewal sees it: `names` with its host first, `cas` the keys of the CAs that are configured now.

    `request` is a text that changes with anything that an order is made from (names, key type, profile, CA).
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
    """Why an order is due."""

    FIRST = "first"
    CA_CHANGED = "ca_changed"
    NAMES_CHANGED = "names_changed"
    NAME_RETURNS = "name_returns"
    SUGGESTED_WINDOW = "suggested_window"
    LIFETIME = "lifetime"
    ASKED_FOR = "asked_for"


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to order before `until`; None: not before something changes."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Renew:
    reason: RenewalReason


def is_endangered(live: LiveCertificate, now: datetime) -> bool:
    return now >= live.endangered_from


def decide_renewal(site: SiteToRenew, state: RenewalState, now: datetime, *, fraction: float) -> Keep | Renew:
    """`fraction` in [0, 1) places the site within the window; it stays the same for one certificate.

    A failed attempt is waited out (`state.next_attempt`) unless what would be ordered has changed since.
    """
    if site.source is not Source.ACME:
        return Keep(None)
    decision = _wanted(site, state, now, fraction)
    if isinstance(decision, Renew) and state.next_attempt is not None and _is_ahead(state.next_attempt, now):
        return Keep(state.next_attempt) if state.request == site.request else decision
    return decision


def _wanted(site: SiteToRenew, state: RenewalState, now: datetime, fraction: float) -> Keep | Renew:
    """What would be done if no attempt had ever failed."""
    live = site.live
    if live is None or live.origin is Origin.FILE:
        return Renew(RenewalReason.FIRST)
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
    """Whether to wait for an instant that was written down; one beyond all bounds is none."""
    return now < instant <= now + LONGEST_WAIT


def renewal_instant(live: LiveCertificate, state: RenewalState, fraction: float) -> tuple[datetime, RenewalReason]:
    """When this certificate is to be renewed, and on whose word: the CA's window where it gave a sane one."""
    window = state.window_for(live.fingerprint)
    if window is not None and window.is_valid:
        return _within(window, live, fraction), RenewalReason.SUGGESTED_WINDOW
    return _by_lifetime(live, fraction), RenewalReason.LIFETIME


def _by_lifetime(live: LiveCertificate, fraction: float) -> datetime:
    """The last third opens, the last half of a short life; spread over a part of it."""
    lifetime = live.lifetime
    if lifetime < SHORT_LIFETIME:
        return live.not_before + lifetime / 2 + lifetime / 10 * fraction
    return live.not_before + lifetime * 2 / 3 + lifetime / 15 * fraction


def _within(window: SuggestedWindow, live: LiveCertificate, fraction: float) -> datetime:
    """RFC 9773 §4.2: a uniformly random instant of the window, whose past means now.

    Bounded on both sides, as a CA may err: never so late that no time is left to mend what fails, never so early
    that a window that always lies in the past has us order without end.
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
    """A number in [0, 1) that is as good as random and always the same for one text: what spreads sites over time
    without a memory of where each was put."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / (1 << 48)
