"""A matter in words: what a mail says of one site, for a reader who has never heard of ACME. Pure, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certstore.model.notify.due_notices import Notice, NoticeKind
from certstore.model.notify.warnings import Matter, MatterKind
from certstore.model.settings.models import Source
from certstore.model.text import listed


@dataclass(frozen=True, slots=True)
class Item:
    """One site in a mail; empty texts are left out."""

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
            ("Cause", self.cause),
            ("Since", self.since),
            ("Next try", self.next_attempt),
            ("Names", self.names),
            ("What to do", self.remedy),
        ]
        return [(label, text) for label, text in rows if text]


def describe(matter: Matter, now: datetime) -> Item:
    state = matter.state
    failure = state.failure if matter.source is Source.ACME else None
    window = state.info.window if state.info is not None else None
    cause = failure.detail if failure is not None else state.waiting
    return Item(
        site=matter.site,
        host=matter.host,
        headline=_headline(matter, now),
        remedy=_remedy(matter),
        cause=cause or ("no order has been tried yet" if _is_untried(matter) else ""),
        since=_since(state.failing_since, state.failures, now) if failure is not None else "",
        next_attempt=instant(state.next_attempt, now) if failure is not None and state.next_attempt else "",
        names=", ".join(matter.names),
        link=(failure.link or "") if failure is not None else "",
        explanation=(window.explanation_url or "") if window is not None else "",
        is_grave=matter.kind in (MatterKind.EXPIRING, MatterKind.EXPIRED),
    )


def _is_untried(matter: Matter) -> bool:
    return matter.source is Source.ACME and matter.kind in (MatterKind.EXPIRING, MatterKind.EXPIRED)


def _headline(matter: Matter, now: datetime) -> str:
    match matter.kind:
        case MatterKind.EXPIRED:
            return f"The certificate has ended on {instant(matter.not_after, now)}. Clients refuse it."
        case MatterKind.EXPIRING:
            return f"The certificate ends on {instant(matter.not_after, now)}."
        case MatterKind.DEGRADED:
            missing = [name for name in matter.state.left_out if name in matter.names]
            return f"The certificate was renewed without {listed(missing)}, which did not pass the CA's check."
        case _ if matter.not_after is None:
            return "The first certificate can't be ordered. Clients get the main certificate meanwhile."
        case _:
            return f"The certificate can't be renewed. The present one is good until {instant(matter.not_after, now)}."


def _remedy(matter: Matter) -> str:
    if matter.source is Source.FILE:
        return "Drop a new certificate into the site's folder, or let it be ordered: certificate: acme"
    if matter.kind is MatterKind.DEGRADED:
        return "Point the name at this server, or remove it from the site. It comes back by itself when it passes."
    if matter.state.failure is not None:
        return matter.state.failure.remedy
    return "Look at the site with: certedge site show"


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
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC ({distance(at, now)})"


# Written out, because strftime's names follow the process's locale.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
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


def subject_of(mail: Notice, now: datetime) -> str:
    """Short enough for a phone: how many, which, when."""
    if mail.kind is NoticeKind.RESOLVED:
        return f"Certificates are well again: {_some(mail.resolved)}"
    matters = [matter for matter in mail.matters if matter.kind is not MatterKind.STALLED]
    if not matters:
        return "Certificate maintenance stands still"
    hosts = _some([matter.host for matter in matters])
    worst = matters[0]
    if worst.kind is MatterKind.EXPIRED:
        return f"Certificate has ended: {hosts}"
    if worst.kind is MatterKind.EXPIRING and worst.not_after is not None:
        return f"Certificate ends {distance(worst.not_after, now)}: {hosts}"
    if all(matter.kind is MatterKind.DEGRADED for matter in matters):
        return f"Certificate lacks a name: {hosts}"
    return f"Certificate can't be ordered: {hosts}"


def _some(hosts: Sequence[str]) -> str:
    return listed(list(hosts), limit=2)
