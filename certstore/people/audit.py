"""Who did what to which site, from where, and how it ended: one line per action, appended and never changed. When the
files reach 100 MB, the oldest entries go; `audit_files` sees to that.

No key, password or token is ever part of an entry: what goes in are names, codes and the words of outcomes. Where the
disk says no the entry goes to the log, so that it is somewhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.files.line_log import encode_line
from certstore.model.layout import Layout
from certstore.model.text import shown
from certstore.people.audit_files import AuditFiles

logger = logging.getLogger(__name__)

_DETAIL_MOST = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """`who` is `user NAME`, `token NAME` or what else it was; `outcome` is done, refused, failed or denied."""

    at: datetime
    who: str
    address: str
    action: str
    site: str | None
    outcome: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "who": self.who,
            "from": self.address,
            "action": self.action,
            "site": self.site,
            "outcome": self.outcome,
            "detail": self.detail,
        }


class Audit:
    """Used from several threads."""

    def __init__(self, layout: Layout, clock: Callable[[], datetime]) -> None:
        self._files = AuditFiles(layout.admin)
        self._clock = clock

    def note(self, who: str, address: str, action: str, site: str | None, outcome: str, detail: str = "") -> None:
        """Durable when this returns. Never raises."""
        text = " ".join(detail.split())
        detail = text if len(text) <= _DETAIL_MOST else text[:_DETAIL_MOST] + "…"
        entry = Entry(self._clock(), shown(who), shown(address), action, site, outcome, detail)
        try:
            self._files.append(encode_line(entry.to_json()))
        except OSError as error:
            logger.error("the audit log can't be written (%s): %s", error.strerror, json.dumps(entry.to_json()))

    def page(self, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """The newest entries before this place in the log, newest first, and the place to go on at."""
        entries: list[dict[str, Any]] = []
        last = before
        with contextlib.closing(self._files.lines_backwards(before)) as lines:
            for place, line in lines:
                if len(entries) == limit:
                    return entries, last
                if (entry := _parse(line)) is not None:
                    entries.append(entry)
                last = place
        return entries, None

    def export(self) -> Iterator[bytes]:
        """All entries that are kept, oldest first, one JSON object per line, in pieces."""
        return self._files.content()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
