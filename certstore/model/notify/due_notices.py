"""Which notices are due: per recipient at most one early notice an hour, one daily digest and one resolution a day.

An early notice waits ten minutes for others, and lists all sites at once. What a recipient already knows is remembered
(`Told`). Edge, recipient, day, kind and the notice before fix a notice's id, so that one sent again after a kill is
recognised as the same. Pure.

Problems of the service go to the operators only: each notice has all of them, the first when one has stood for a while,
then daily. Notices that have any, resolutions included, are at least an hour apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from certstore.model.json_facts import Kept
from certstore.model.notify.standing_problems import (
    NONE_STANDING,
    STANDS_AFTER,
    TOLD_ALONG_AFTER,
    Standing,
    StandingProblem,
    title_of,
)
from certstore.model.notify.warnings import MAINTENANCE, STALLED_KEY, Matter, MatterKind

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
    of the last early notice, or of one with problems of the service. `problems` holds the episode of each problem that
    has been told, `reported_at` when any was told last.
    """

    days: Mapping[NoticeKind, date]
    marks: Mapping[str, str]
    hosts: Mapping[str, str]
    noticed_at: datetime | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    reported_at: datetime | None = None

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
    """When the recipient got the notice before this one, of those that may come several times a day."""
    problems: tuple[StandingProblem, ...] = ()
    resolved_problems: tuple[str, ...] = ()
    """In a few words each."""
    node: str | None = None
    """Of a notice about one node's own problems: its name, empty where there is no cluster."""

    def id_of(self, edge: str) -> str:
        """The same each time `edge` sends the notice; another edge, or another node of it, may have a notice for the
        same recipient and day."""
        whole = f"{edge}\n{self.recipient}\n{self.day.isoformat()}\n{self.kind}"
        if self.before is not None:
            whole += f"\n{self.before.isoformat()}"
        if self.node is not None:
            whole += f"\nservice {self.node}"
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
    matters: Iterable[tuple[Matter, Collection[str]]],
    told: Mapping[str, Told],
    now: datetime,
    *,
    standing: Standing = NONE_STANDING,
    operators: Collection[str] = (),
) -> list[Notice]:
    """`matters` come with the recipients of each; the problems of the service that are `standing` concern the
    `operators`. A round plans at most one notice per recipient.
    """
    by_recipient: dict[str, list[Matter]] = {recipient: [] for recipient in (*told, *operators)}
    for matter, recipients in matters:
        for recipient in recipients:
            by_recipient.setdefault(recipient, []).append(matter)
    notices = (
        _next_notice(
            recipient,
            current,
            standing if recipient in operators else NONE_STANDING,
            told.get(recipient, Told.nothing()),
            now,
        )
        for recipient, current in by_recipient.items()
    )
    return [notice for notice in notices if notice is not None]


def _next_notice(recipient: str, current: list[Matter], standing: Standing, told: Told, now: datetime) -> Notice | None:
    day, may_notice = day_of(now), _may_notice(told, now)
    current = sorted(current, key=lambda matter: (matter.not_after or matter.since, matter.site))
    problems = tuple(each for each in standing.problems if each.has_stood(TOLD_ALONG_AFTER, now))
    lasting = [each for each in problems if each.has_stood(STANDS_AFTER, now)]
    warning = _Warning(recipient, day, problems, told, now)
    daily = [each for each in current if each.kind.is_daily and (each.until is None or now < each.until)]
    if told.days.get(NoticeKind.DAILY) != day and any(_is_due_today(each, now) for each in daily):
        return warning.of_the_day(daily)
    fresh = [each for each in current if not each.kind.is_daily and told.marks.get(each.site) != each.mark]
    is_new = any(not _has_heard(told, each) for each in lasting)
    if may_notice and (is_new or any(each.is_gathered(now) for each in fresh)):
        return warning.of_news(fresh)
    if may_notice and lasting and (told.reported_at is None or day_of(told.reported_at) != day):
        return warning.of_problems_again()
    over = tuple(sorted(set(told.marks) - {each.site for each in current}))
    known = {*standing.lapsed, *(each.key for each in standing.problems)}
    solved = tuple(sorted(set(told.problems) - known)) if may_notice else ()
    if (over or solved) and told.days.get(NoticeKind.RESOLVED) != day:
        return _resolution(recipient, day, over, solved, told, now)
    return None


def _may_notice(told: Told, now: datetime) -> bool:
    """An instant ahead of the clock is from before the clock was set back."""
    return told.noticed_at is None or not timedelta() <= now - told.noticed_at < BETWEEN_NOTICES


def _has_heard(told: Told, problem: StandingProblem) -> bool:
    """Whether this occurrence was told. Another node, which told it, found it at another instant: but where it had
    stood here too when something was told last, it was among that.
    """
    if (episode := told.problems.get(problem.key)) is None or episode == problem.episode:
        return episode is not None
    return told.reported_at is not None and problem.has_stood(TOLD_ALONG_AFTER, told.reported_at)


def _is_due_today(matter: Matter, now: datetime) -> bool:
    """The first daily notice waits until the next day begins, so that five days are five notices. A short-lived
    certificate has no day to lose, and an expired one is reported at once."""
    if matter.is_hasty or matter.kind is MatterKind.EXPIRED:
        return True
    begin = datetime.combine(day_of(now), time(), UTC) + DAY_BEGINS
    return matter.since <= begin


@dataclass(frozen=True, slots=True)
class _Warning:
    """The warning that a recipient gets now, whatever is the reason."""

    recipient: str
    day: date
    problems: tuple[StandingProblem, ...]
    told: Told
    now: datetime

    def of_the_day(self, matters: list[Matter]) -> Notice:
        return self._notice(NoticeKind.DAILY, matters, {**self.told.days, NoticeKind.DAILY: self.day})

    def of_news(self, matters: list[Matter]) -> Notice:
        notice = self._notice(NoticeKind.NOTICE, matters, {**self.told.days, NoticeKind.NOTICE: self.day})
        return replace(notice, told=replace(notice.told, noticed_at=self.now), before=self.told.noticed_at)

    def of_problems_again(self) -> Notice:
        """Leaves room for the day's warning about sites."""
        return replace(self._notice(NoticeKind.DAILY, [], self.told.days), before=self.told.reported_at)

    def _notice(self, kind: NoticeKind, matters: list[Matter], days: Mapping[NoticeKind, date]) -> Notice:
        told = self.told
        after = replace(
            told,
            days=days,
            marks={**told.marks, **{each.site: each.mark for each in matters}},
            hosts={**told.hosts, **{each.site: each.host for each in matters}},
            problems={**told.problems, **{each.key: each.episode for each in self.problems}},
        )
        if self.problems:
            after = replace(after, noticed_at=self.now, reported_at=self.now)
        return Notice(self.recipient, kind, self.day, tuple(matters), (), after, problems=self.problems)


def _resolution(
    recipient: str, day: date, over: tuple[str, ...], solved: tuple[str, ...], told: Told, now: datetime
) -> Notice:
    after = replace(
        told,
        days={**told.days, NoticeKind.RESOLVED: day},
        marks={site: mark for site, mark in told.marks.items() if site not in over},
        hosts={site: host for site, host in told.hosts.items() if site not in over},
        problems={key: episode for key, episode in told.problems.items() if key not in solved},
        noticed_at=now if solved else told.noticed_at,
    )
    hosts = tuple(told.hosts.get(site, site) for site in over if site != MAINTENANCE)
    keys = (*([STALLED_KEY] if MAINTENANCE in over else []), *solved)
    return Notice(recipient, NoticeKind.RESOLVED, day, (), hosts, after, resolved_problems=tuple(map(title_of, keys)))
