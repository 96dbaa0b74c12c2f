"""The words of a notice, for readers who have never heard of ACME. Pure, without markup."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certstore.model.notify.due_notices import Notice, NoticeKind
from certstore.model.notify.standing_problems import StandingProblem
from certstore.model.notify.warnings import Matter, MatterKind
from certstore.model.settings.models import Source
from certstore.model.text import listed

SHOWN_SITES = 200
"""More sites in one notice help nobody; the rest is only counted."""
SHOWN_PROBLEMS = 50
TEST_SUBJECT = "Test of certificate warnings"
_GRAVEST_FIRST = (MatterKind.EXPIRED, MatterKind.EXPIRING, MatterKind.FAILING, MatterKind.DEGRADED)


def asked_by(notice: Notice, administrators: Collection[str]) -> str:
    """Who asked for the notice: its recipient may never have heard of this server."""
    if notice.recipient in administrators:
        return "You receive this because notify.to in its settings names your address."
    hosts = [matter.host for matter in notice.sites] or list(notice.resolved)
    return (
        f"You receive this because whoever manages {listed(hosts, limit=3)} there named your address as a contact. "
        "If that is not you, ask them, or the administrator of the server, to remove it."
    )


@dataclass(frozen=True, slots=True)
class Item:
    """One site in a notice; empty texts are left out."""

    site: str
    host: str
    headline: str
    remedy: str
    cause: str = ""
    since: str = ""
    next_attempt: str = ""
    names: str = ""
    link: str = ""
    explanation: str = ""
    is_grave: bool = False

    @property
    def rows(self) -> list[tuple[str, str]]:
        rows = [
            ("Reason", self.cause),
            ("What to do", self.remedy),
            ("Names", self.names),
            ("Failing since", self.since),
            ("Next attempt", self.next_attempt),
        ]
        return [(label, text) for label, text in rows if text]


@dataclass(frozen=True, slots=True)
class ProblemItem:
    """One problem of the service in a notice."""

    code: str
    scope: str
    title: str
    message: str
    since: str


def describe_problems(notice: Notice, now: datetime) -> tuple[list[tuple[StandingProblem, ProblemItem]], int]:
    """The problems to show, and the number of those that are left out."""
    described = [
        (each, ProblemItem(each.code, each.scope, _begun(each.title), each.message, instant(each.since, now)))
        for each in notice.problems[:SHOWN_PROBLEMS]
    ]
    return described, len(notice.problems) - len(described)


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]


def describe_sites(notice: Notice, now: datetime) -> tuple[list[tuple[Matter, Item]], int]:
    """The sites to show, and the number of those that are left out."""
    shown = [(matter, describe(matter, now)) for matter in notice.sites[:SHOWN_SITES]]
    return shown, len(notice.sites) - len(shown)


def describe(matter: Matter, now: datetime) -> Item:
    state = matter.state
    failure = state.failure if matter.source is Source.ACME else None
    window = state.info.window if state.info is not None else None
    cause = failure.detail if failure is not None else state.waiting
    is_grave = matter.kind in (MatterKind.EXPIRING, MatterKind.EXPIRED)
    if not cause and matter.source is Source.ACME and is_grave:
        cause = "Renewal has not been attempted yet."
    return Item(
        site=matter.site,
        host=matter.host,
        headline=_headline(matter, now),
        remedy=_remedy(matter),
        cause=cause,
        since=_since(state.failing_since, state.failures, now) if failure is not None else "",
        next_attempt=instant(state.next_attempt, now) if failure is not None and state.next_attempt else "",
        names=", ".join(matter.names),
        link=(failure.link or "") if failure is not None else "",
        explanation=(window.explanation_url or "") if window is not None else "",
        is_grave=is_grave,
    )


def _headline(matter: Matter, now: datetime) -> str:
    end = instant(matter.not_after, now)
    match matter.kind:
        case MatterKind.EXPIRED:
            return f"The certificate expired on {end}. Browsers and mail programs now reject it."
        case MatterKind.EXPIRING:
            return f"The certificate expires on {end}. After that, browsers and mail programs will reject it."
        case MatterKind.DEGRADED:
            missing = listed([name for name in matter.state.left_out if name in matter.names])
            return f"The certificate was renewed without {missing}, which the certificate authority (CA) can't verify."
        case _ if matter.not_after is None:
            return "The first certificate can't be issued. Until it is, clients get the server's main certificate."
        case _:
            return f"The certificate can't be renewed. The current one is valid until {end}."


def _remedy(matter: Matter) -> str:
    if matter.source is Source.FILE:
        return (
            "Put a new certificate into the site's folder, or set `certificate: acme` to have it renewed automatically."
        )
    if matter.kind is MatterKind.DEGRADED:
        return "Point the name at this server, or remove it from the site. Once it can be verified, it is added again."
    if matter.state.failure is not None:
        return matter.state.failure.remedy
    return f"See the details with: certedge site show {matter.site}"


def _since(since: datetime | None, failures: int, now: datetime) -> str:
    if since is None:
        return ""
    attempts = "1 attempt" if failures == 1 else f"{failures} attempts"
    return f"{instant(since, now)}, {attempts}"


def instant(at: datetime | None, now: datetime) -> str:
    """`Friday, 4 December 2026, 14:05 UTC (in 3 days)`"""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC ({distance(at, now)})"


# Written out, because strftime's names follow the process's locale.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def distance(at: datetime, now: datetime) -> str:
    """`in 3 days`, `5 hours ago`, in the one unit that matters, rounded down."""
    span = abs(at - now)
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        # A single day would hide up to 24 hours.
        if span >= (2 * length if unit != "minute" else length):
            count = span // length
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if at > now else f"{words} ago"
    return "now"


def subject_of(notice: Notice, now: datetime) -> str:
    """Short enough for a phone: the gravest problem, which sites have it, and when."""
    if notice.kind is NoticeKind.RESOLVED and notice.resolved:
        return (
            f"Certificate {'problem' if len(notice.resolved) == 1 else 'problems'} resolved: {_some(notice.resolved)}"
        )
    if notice.kind is NoticeKind.RESOLVED:
        problems = "Problem" if len(notice.resolved_problems) == 1 else "Problems"
        return f"{problems} of the service resolved: {_some(notice.resolved_problems)}"
    if not notice.sites and notice.stalled_since is None and notice.problems:
        problems = "Problem" if len(notice.problems) == 1 else "Problems"
        return f"{problems} of the service: {_some([each.title for each in notice.problems])}"
    if not notice.sites:
        return "Certificate maintenance has stopped"
    gravest = min(notice.sites, key=lambda matter: _GRAVEST_FIRST.index(matter.kind))
    hosts = [matter.host for matter in notice.sites if matter.kind is gravest.kind]
    is_one = len(hosts) == 1
    match gravest.kind:
        case MatterKind.EXPIRED:
            what = "expired"
        case MatterKind.EXPIRING if gravest.not_after is not None:
            in_days = distance(gravest.not_after, now)
            what = f"expires {in_days}" if is_one else f"expire, the first {in_days}"
        case MatterKind.DEGRADED:
            what = "lacks a name" if is_one else "lack a name"
        case _:
            what = "can't be issued" if gravest.not_after is None else "can't be renewed"
    return f"{'Certificate' if is_one else 'Certificates'} {what}: {_some(hosts)}"


def _some(hosts: Sequence[str]) -> str:
    return listed(list(hosts), limit=2)
