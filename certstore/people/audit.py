"""The audit log: who did what to which site, from where, and with which outcome. One line per action, never changed.

At 100 MB the oldest entries are removed (see `audit_files`). An entry holds names, codes and messages, never a key, a
password or a token. If it can't be written to disk it goes to the service's log, so that it is not lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from certstore.files.clock import Clock
from certstore.files.line_log import encode_line
from certstore.model.layout import Layout
from certstore.model.text import shown
from certstore.people.audit_files import AuditFiles

logger = logging.getLogger(__name__)

_DETAIL_MOST = 400


class Audit:
    """Used from several threads."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._files = AuditFiles(layout.admin)
        self._clock = clock

    def note(self, who: str, address: str, action: str, site: str | None, outcome: str, detail: str = "") -> None:
        """`who` is `user NAME`, `token NAME` or the like; `outcome` is done, refused, failed or denied.

        Durable when this returns. Never raises.
        """
        text = " ".join(detail.split())
        entry = {
            "at": self._clock().isoformat(timespec="milliseconds"),
            "who": shown(who),
            "from": shown(address),
            "action": action,
            "site": site,
            "outcome": outcome,
            "detail": text if len(text) <= _DETAIL_MOST else text[:_DETAIL_MOST] + "…",
        }
        try:
            self._files.append(encode_line(entry))
        except OSError as error:
            logger.error("the audit log can't be written (%s): %s", error.strerror, json.dumps(entry))

    def page(self, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """The newest entries before this place in the log, newest first, and where the next page begins."""
        entries: list[dict[str, Any]] = []
        last = before
        with contextlib.closing(self._files.lines_backwards(before)) as lines:
            for place, line in lines:
                if len(entries) == limit:
                    return entries, last
                with contextlib.suppress(ValueError):
                    if isinstance(entry := json.loads(line), dict):
                        entries.append(entry)
                last = place
        return entries, None

    def export(self) -> Iterator[bytes]:
        """All entries that are kept, oldest first, one JSON object per line, in blocks."""
        return self._files.content()
