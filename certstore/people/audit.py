"""The audit log: who did what to which site, from where, and with which outcome. One line per action, never changed.

The entries of the last 90 days are kept whatever is written, older ones as long as there is room (see `audit_files`).
What one actor adds in an hour is bounded (see `audit_quota`), and so is every field. An entry holds names, codes and
messages, never a key, a password or a token. If it can't be written to disk it goes to the service's log, so that it is
not lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from certstore.files.clock import Clock
from certstore.files.line_log import encode_line
from certstore.model.layout import Layout
from certstore.model.text import shown
from certstore.people.audit_files import AuditFiles
from certstore.people.audit_quota import AuditQuota, Surplus
from certstore.people.audit_selection import AuditSelection

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(days=90)
_DETAIL_MOST = 400
LOOKED_AT_MOST = 20_000
"""Entries that one page looks at, however few of them are asked for: a fraction of a second."""


class Audit:
    """Used from several threads. `unwritten` counts the entries that were only counted."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._files = AuditFiles(layout.admin, lasts=KEPT_FOR, clock=clock)
        self._clock = clock
        self.unwritten = 0
        self._quota = AuditQuota()
        self._lock = threading.Lock()

    def note(self, who: str, address: str, action: str, site: str | None, outcome: str, detail: str = "") -> None:
        """`who` is `user NAME`, `token NAME` or the like; `outcome` is done, refused, failed or denied.

        Durable when this returns. Never raises.
        """
        now = self._clock()
        with self._lock:
            ended = self._quota.ended(now)
            counted = self._quota.admit(who, action, outcome, now)
            self.unwritten += counted > 1
        for each in ended:
            self._note_surplus(each)
        if counted == 1:
            logger.warning("audit log: too many entries of %s; more of this hour are only counted", shown(who))
            detail = "too many entries: from here on, more like this one are counted until the hour is over"
        if counted <= 1:
            self._write(who, address, action, site, outcome, detail)

    def _note_surplus(self, surplus: Surplus) -> None:
        if surplus.number > 1:  # one was written, with the remark that more may follow
            detail = f"{surplus.number - 1} more like this one in the hour from {surplus.since:%Y-%m-%d %H:%M} UTC"
            self._write(surplus.who, "", surplus.action, None, surplus.outcome, detail)

    def _write(self, who: str, address: str, action: str, site: str | None, outcome: str, detail: str) -> None:
        entry = {
            "at": self._clock().isoformat(timespec="milliseconds"),
            "who": shown(who),
            "from": shown(address),
            "action": shown(action),
            "site": shown(site) if site is not None else None,
            "outcome": shown(outcome),
            "detail": shown(" ".join(detail.split()), _DETAIL_MOST),
        }
        try:
            self._files.append(encode_line(entry))
        except OSError as error:
            logger.error("the audit log can't be written (%s): %s", error.strerror, json.dumps(entry))

    def page(
        self, before: int | None, limit: int, chosen: AuditSelection | None = None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """The newest chosen entries before this place in the log, newest first, and where the next page begins.

        A page may have fewer entries than `limit`, even none, and yet a next page: each looks at LOOKED_AT_MOST.
        """
        chosen = chosen or AuditSelection()
        entries: list[dict[str, Any]] = []
        looked_at = 0
        last = before
        with contextlib.closing(self._files.lines_backwards(before)) as lines:
            for place, line in lines:
                if len(entries) == limit or looked_at == LOOKED_AT_MOST:
                    return entries, last
                with contextlib.suppress(ValueError):
                    if isinstance(entry := json.loads(line), dict):
                        if chosen.ends_before(entry):
                            return entries, None
                        if chosen.matches(entry):
                            entries.append(entry)
                last = place
                looked_at += 1
        return entries, None

    def export(self) -> Iterator[bytes]:
        """All entries that are kept, oldest first, one JSON object per line, in blocks."""
        return self._files.content()
