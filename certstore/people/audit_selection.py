"""Which entries of the audit log a reader asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditSelection:
    """`who` is a part of the actor's name or address, in any case; `action` a code; `site` a part of a site's name.

    `since` and `until` are days in UTC, both included. What is empty or None does not matter.
    """

    who: str = ""
    action: str = ""
    site: str = ""
    since: date | None = None
    until: date | None = None

    def matches(self, entry: Mapping[str, Any]) -> bool:
        return (
            self.who.lower() in f"{entry.get('who')} {entry.get('from')}".lower()
            and self.action in ("", entry.get("action"))
            and self.site.lower() in (entry.get("site") or "").lower()
            and (self.until is None or _day(entry) <= self.until)
            and (self.since is None or _day(entry) >= self.since)
        )

    def ends_before(self, entry: Mapping[str, Any]) -> bool:
        """Whether no older entry than this can match. A day's tolerance is for clocks that were set back."""
        return self.since is not None and _day(entry).toordinal() < self.since.toordinal() - 1


def _day(entry: Mapping[str, Any]) -> date:
    """Entries without a readable time match no range that begins somewhere."""
    try:
        return datetime.fromisoformat(str(entry.get("at"))).astimezone(UTC).date()
    except (ValueError, OverflowError):
        return date(1, 1, 2)
