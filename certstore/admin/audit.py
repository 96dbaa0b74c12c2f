"""Who did what to which site, from where, and how it ended: one line per action, appended and never changed.

No key, password or token is ever part of an entry: what goes in are names, codes and the words of outcomes. Where the
disk says no the entry goes to the log, so that it is somewhere.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.atomic import write_all
from certstore.line_log import encode_line
from certstore.model.findings import shown
from certstore.model.layout import Layout

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
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
        self._path = layout.admin / "audit.jsonl"
        self._clock = clock
        self._lock = threading.Lock()

    def note(self, who: str, address: str, action: str, site: str | None, outcome: str, detail: str = "") -> None:
        """Durable when this returns. Never raises."""
        text = " ".join(detail.split())
        detail = text if len(text) <= _DETAIL_MOST else text[:_DETAIL_MOST] + "…"
        entry = Entry(self._clock(), shown(who), shown(address), action, site, outcome, detail)
        try:
            with self._lock:
                self._append(encode_line(entry.to_json()))
        except OSError as error:
            logger.error("the audit log can't be written (%s): %s", error.strerror, json.dumps(entry.to_json()))

    def page(self, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """The newest entries that end before this place in the file, newest first, and the place to go on at."""
        entries: list[dict[str, Any]] = []
        place = before
        for start, line in self._lines_backwards(before):
            if (entry := _parse(line)) is not None:
                entries.append(entry)
            place = start
            if len(entries) == limit:
                return entries, place if place > 0 else None
        return entries, None

    def export(self) -> Iterator[bytes]:
        """The whole file as it lies there, in pieces."""
        try:
            with self._path.open("rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except FileNotFoundError:
            return

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A line that a power cut left half must not swallow the next one.
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            write_all(descriptor, b"\n" + line if is_torn else line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _lines_backwards(self, before: int | None) -> Iterator[tuple[int, bytes]]:
        """(where it begins, the line), from the end on. A log of years is not read whole for a page."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            size = file.seek(0, os.SEEK_END)
            end = size if before is None else min(max(before, 0), size)
            rest = b""
            while end > 0:
                start = max(end - _CHUNK, 0)
                file.seek(start)
                block = file.read(end - start) + rest
                lines = block.split(b"\n")
                # The first one may have begun before this block.
                rest = lines[0] if start > 0 else b""
                place = start + len(block)
                for line in reversed(lines[1:] if start > 0 else lines):
                    place -= len(line)
                    if line:
                        yield place, line
                    place -= 1
                end = start


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
