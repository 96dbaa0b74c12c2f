"""Which notices are due: per recipient at most one early notice an hour, one daily digest and one resolution a day.

An early notice waits ten minutes for others, and lists all sites at once. What a recipient already knows is remembered
(`Told`). Edge, recipient, day, kind and the notice before fix a notice's id, so that one sent again after a kill is
recognised as the same. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from certstore.model.json_facts import Kept
from certstore.model.notify.warnings import Matter, MatterKind

DAY_BEGINS = timedelta(hours=6)
"""UTC. Daily notices go out when this day begins: before office hours in Europe, and never at midnight."""
BETWEEN_NOTICES = timedelta(hours=1)


class NoticeKind(StrEnum):
    NOTICE = "notice"
    DAILY = "daily"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Told(Kept):
    """What a recipient knows: the last day of each kind of notice, and the mark of each site's latest matter.

    `hosts` keeps each site's host, because a site may be gone when its matter is resolved. `noticed_at` is the instant
    of the last early notice.
    """

    days: Mapping[NoticeKind, date]
    marks: Mapping[str, str]
    hosts: Mapping[str, str]
    noticed_at: datetime | None = None

    @classmethod
    def nothing(cls) -> Told:
        return cls({}, {}, {})


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice to send. `told` is what the recipient knows once it has been accepted."""

    recipient: str
    kind: NoticeKind
    day: date
    matters: tuple[Matter, ...]
    resolved: tuple[str, ...]
    told: Told
    before: datetime | None = None
    """When the recipient got the early notice before this one."""

    def id_of(self, edge: str) -> str:
        """The same each time `edge` sends the notice; another edge may have a notice for the same recipient and day."""
        whole = f"{edge}\n{self.recipient}\n{self.day.isoformat()}\n{self.kind}"
        if self.before is not None:
            whole += f"\n{self.before.isoformat()}"
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    @property
    def sites(self) -> list[Matter]:
        """The matters of sites, without that of the maintenance loop."""
        return [matter for matter in self.matters if matter.kind is not MatterKind.STALLED]

    @property
    def stalled_since(self) -> datetime | None:
        return next((matter.since for matter in self.matters if matter.kind is MatterKind.STALLED), None)


def day_of(now: datetime) -> date:
    """The day that `now` belongs to, where a day begins at DAY_BEGINS."""
    return (now.astimezone(UTC) - DAY_BEGINS).date()


def plan_notices(
    matters: Iterable[tuple[Matter, Collection[str]]], told: Mapping[str, Told], now: datetime
) -> list[Notice]:
    """`matters` come with the recipients of each. A round plans at most one notice per recipient."""
    by_recipient: dict[str, list[Matter]] = {recipient: [] for recipient in told}
    for matter, recipients in matters:
        for recipient in recipients:
            by_recipient.setdefault(recipient, []).append(matter)
    notices = (
        _next_notice(recipient, current, told.get(recipient, Told.nothing()), now)
        for recipient, current in by_recipient.items()
    )
    return [notice for notice in notices if notice is not None]


def _next_notice(recipient: str, current: list[Matter], told: Told, now: datetime) -> Notice | None:
    day = day_of(now)
    current = sorted(current, key=lambda matter: (matter.not_after or matter.since, matter.site))
    daily = [each for each in current if each.kind.is_daily and (each.until is None or now < each.until)]
    if told.days.get(NoticeKind.DAILY) != day and any(_is_due_today(each, now) for each in daily):
        return _warning(recipient, NoticeKind.DAILY, day, daily, told)
    fresh = [each for each in current if not each.kind.is_daily and told.marks.get(each.site) != each.mark]
    if any(each.is_gathered(now) for each in fresh) and _may_notice(told, now):
        notice = _warning(recipient, NoticeKind.NOTICE, day, fresh, told)
        return replace(notice, told=replace(notice.told, noticed_at=now), before=told.noticed_at)
    over = tuple(sorted(set(told.marks) - {each.site for each in current}))
    if over and told.days.get(NoticeKind.RESOLVED) != day:
        return _resolution(recipient, day, over, told)
    return None


def _may_notice(told: Told, now: datetime) -> bool:
    """An instant ahead of the clock is from before the clock was set back."""
    return told.noticed_at is None or not timedelta() <= now - told.noticed_at < BETWEEN_NOTICES


def _is_due_today(matter: Matter, now: datetime) -> bool:
    """The first daily notice waits until the next day begins, so that five days are five notices. A short-lived
    certificate has no day to lose, and an expired one is reported at once."""
    if matter.is_hasty or matter.kind is MatterKind.EXPIRED:
        return True
    begin = datetime.combine(day_of(now), time(), UTC) + DAY_BEGINS
    return matter.since <= begin


def _warning(recipient: str, kind: NoticeKind, day: date, matters: list[Matter], told: Told) -> Notice:
    after = replace(
        told,
        days={**told.days, kind: day},
        marks={**told.marks, **{each.site: each.mark for each in matters}},
        hosts={**told.hosts, **{each.site: each.host for each in matters}},
    )
    return Notice(recipient, kind, day, tuple(matters), (), after)


def _resolution(recipient: str, day: date, over: tuple[str, ...], told: Told) -> Notice:
    after = replace(
        told,
        days={**told.days, NoticeKind.RESOLVED: day},
        marks={site: mark for site, mark in told.marks.items() if site not in over},
        hosts={site: host for site, host in told.hosts.items() if site not in over},
    )
    return Notice(recipient, NoticeKind.RESOLVED, day, (), tuple(told.hosts.get(site, site) for site in over), after)
