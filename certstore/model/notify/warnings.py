"""What there is to warn about: at most one `Matter` per site, from the state of its certificate and its renewal.

Early: after the second failed attempt, or the first whose cause only a person can fix. Late: in the warning window
before any certificate expires, whether ordered or dropped as a file, and in the days after. Pure; `due_notices` decides
who is told when.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from certstore.model.renewal.decision import LiveCertificate
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import Source

GATHERING = timedelta(minutes=10)
"""An early notice waits this long after its first matter arose, so that sites that fail together are in one notice."""

REPORTED_AFTER_END = timedelta(days=5)

MAINTENANCE = ""
"""In place of a site, in the matter of the maintenance loop."""
STALLED_KEY = "maintenance_stalled"


class MatterKind(StrEnum):
    """`FAILING` and `DEGRADED` are reported once; `EXPIRING`, `EXPIRED` and `STALLED` every day."""

    FAILING = "failing"
    DEGRADED = "degraded"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    STALLED = "stalled"

    @property
    def is_daily(self) -> bool:
        return self in (MatterKind.EXPIRING, MatterKind.EXPIRED, MatterKind.STALLED)


@dataclass(frozen=True, slots=True)
class WatchedSite:
    site: str
    names: tuple[str, ...]
    source: Source
    live: LiveCertificate | None
    state: RenewalState
    contact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matter:
    """`episode` tells this occurrence from the next; `since` is when it began, `until` when reporting it ends."""

    site: str
    kind: MatterKind
    episode: str
    since: datetime
    names: tuple[str, ...] = ()
    source: Source = Source.ACME
    not_after: datetime | None = None
    state: RenewalState = FRESH
    until: datetime | None = None
    is_hasty: bool = False
    """Too little time is left to wait for the daily hour."""
    arose: datetime | None = None
    """When there was first something to report, which is later than `since` where a first failure is not reported."""

    @property
    def host(self) -> str:
        return self.names[0] if self.names else self.site

    @property
    def mark(self) -> str:
        return f"{self.kind} {self.episode}"

    def is_gathered(self, now: datetime) -> bool:
        """Whether an early notice about it waits for no others any more."""
        return now >= (self.arose or self.since) + GATHERING


def decide_matter(site: WatchedSite, now: datetime) -> Matter | None:
    """The gravest problem of the site now."""
    if site.source is Source.MAIN:
        return None
    return _of_end(site, now) or _of_failure(site) or _of_names(site)


def _of_end(site: WatchedSite, now: datetime) -> Matter | None:
    live = site.live
    if live is None or now < live.endangered_from:
        return None
    is_over = now >= live.not_after
    kind = MatterKind.EXPIRED if is_over else MatterKind.EXPIRING
    matter = _matter(site, kind, live.fingerprint[:16], live.not_after if is_over else live.endangered_from)
    is_hasty = live.not_after - live.endangered_from < timedelta(days=2)
    return replace(matter, until=live.not_after + REPORTED_AFTER_END, is_hasty=is_hasty)


def _of_failure(site: WatchedSite) -> Matter | None:
    state = site.state
    if site.source is not Source.ACME or state.failure is None or state.failing_since is None:
        return None
    if state.failures < 2 and not state.failure.needs_person:
        return None
    matter = _matter(site, MatterKind.FAILING, state.failing_since.isoformat(timespec="seconds"), state.failing_since)
    # A third failure is no news: what it would report arose with the second.
    return replace(matter, arose=state.attempted_at if state.failures <= 2 else None)


def _of_names(site: WatchedSite) -> Matter | None:
    """Whether the certificate was renewed without some of the site's names."""
    missing = tuple(name for name in site.state.left_out if name in site.names)
    if not missing or site.live is None or site.source is not Source.ACME:
        return None
    matter = _matter(site, MatterKind.DEGRADED, " ".join(sorted(missing)), site.live.not_before)
    return replace(matter, arose=site.state.attempted_at)


def _matter(site: WatchedSite, kind: MatterKind, episode: str, since: datetime) -> Matter:
    not_after = site.live.not_after if site.live is not None else None
    return Matter(site.site, kind, episode, since, site.names, site.source, not_after, site.state)


def stalled(since: datetime) -> Matter:
    """The matter of a maintenance loop that has not completed a round since then."""
    return Matter(MAINTENANCE, MatterKind.STALLED, since.isoformat(timespec="seconds"), since, is_hasty=True)
