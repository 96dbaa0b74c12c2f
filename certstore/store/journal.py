"""The snapshot on disk: what the one writer publishes and every worker reads.

`state/snapshot.jsonl` holds one line per changed site (`{"removed": SITE}` for a removed one), and a site's last line
counts. Readers poll: no message can be lost, and a worker that starts late or hangs for a while is up to date with its
next poll. The file may be lost: the writer makes it again from `live` and the sites' settings.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from certstore.files.line_log import LineLog, complete_part, decode_lines
from certstore.model.layout import Layout
from certstore.model.snapshot import SiteEntry, Snapshot, decode_entry, encode_entry

# What decode_entry raises on a line that it does not understand, besides JSON's own ValueError and RecursionError.
_UNDECODABLE = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


_SPARE_LINES = 100


class JournalUnreadable(Exception):
    """There is no complete snapshot to serve from (yet); the message says why."""


class JournalReader:
    """One worker's view. Not for several threads at once.

    `problem` tells why the last poll could not read what it should have; the last good snapshot stays valid.
    """

    def __init__(self, layout: Layout) -> None:
        self.problem: str | None = None
        self._path = layout.snapshot_journal
        self._descriptor = -1
        self._offset = 0
        self._snapshot: Snapshot | None = None
        self._failed_at: tuple[int, int] | None = None

    def load(self) -> Snapshot:
        """Read everything. Raises JournalUnreadable."""
        try:
            self._snapshot = self._read_whole()
        except (OSError, *_UNDECODABLE) as error:
            self.problem = f"{self._path}: {_reason(error)}"
            raise JournalUnreadable(self.problem) from error
        self.problem = None
        return self._snapshot

    def poll(self) -> Snapshot | None:
        """The next snapshot, or None when there is nothing new. Never raises; costs one stat when nothing changed."""
        try:
            status = os.stat(self._path)  # noqa: PTH116  a fifth of Path.stat's time, forty times a second
        except OSError as error:
            self.problem = f"{self._path}: {_reason(error)}"
            return None
        if (status.st_ino, status.st_size) == self._failed_at:
            return None
        try:
            self._snapshot, is_new = self._next(status)
        except (OSError, *_UNDECODABLE) as error:
            # The snapshot stays. The file is read again when it has changed, and not forty times a second.
            self._failed_at = (status.st_ino, status.st_size)
            self.problem = f"{self._path}: {_reason(error)}"
            return None
        self._failed_at = None
        self.problem = None
        return self._snapshot if is_new else None

    @property
    def position(self) -> tuple[int, int]:
        """How far the journal has been read: the file's inode and the bytes; zeros before `load`."""
        return (os.fstat(self._descriptor).st_ino if self._descriptor >= 0 else 0, self._offset)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _next(self, status: os.stat_result) -> tuple[Snapshot, bool]:
        # The open descriptor keeps the inode's number from being used again for the next file.
        is_same = self._descriptor >= 0 and os.fstat(self._descriptor).st_ino == status.st_ino
        if self._snapshot is None or not is_same or status.st_size < self._offset:
            return self._read_whole(), True
        if status.st_size == self._offset:
            return self._snapshot, False
        fresh = complete_part(_read_at(self._descriptor, self._offset, status.st_size - self._offset))
        if not fresh:
            return self._snapshot, False
        try:
            changed, removed = _changes(decode_lines(fresh))
            snapshot = self._snapshot.with_changes(changed.values(), removed)
        except _UNDECODABLE:
            # A writer that met a full disk cuts its lines off again and may have written others since.
            return self._read_whole(), True
        self._offset += len(fresh)
        return snapshot, True

    def _read_whole(self) -> Snapshot:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = complete_part(_read_at(descriptor, 0, os.fstat(descriptor).st_size))
            changed, _ = _changes(decode_lines(content))
            snapshot = Snapshot.build(changed.values())
        except BaseException:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self._offset = descriptor, len(content)
        return snapshot


class JournalWriter:
    """The one writer's side; keeps every published entry, so that it can rewrite a journal that has grown too long."""

    def __init__(self, layout: Layout) -> None:
        self._log = LineLog(layout.snapshot_journal, layout.temporary)
        self._entries: dict[str, SiteEntry] = {}

    def load(self) -> bool:
        """Read what was published last, as far as possible. Returns whether the file can be appended to."""
        lines, is_whole = self._log.read()
        for line in lines:
            try:
                if "removed" in line:
                    self._entries.pop(line["removed"], None)
                else:
                    self._entries[line["site"]] = decode_entry(line)
            except _UNDECODABLE:
                is_whole = False
        return is_whole and len(lines) <= 2 * len(self._entries) + _SPARE_LINES

    @property
    def entries(self) -> Mapping[str, SiteEntry]:
        """What has been published, by site."""
        return self._entries

    def publish(self, changed: Sequence[SiteEntry], removed: Sequence[str] = ()) -> None:
        """One append for everything that changed together. Raises OSError, and then nothing is published."""
        lines: list[Any] = [{"removed": site} for site in removed]
        lines += [encode_entry(entry) for entry in changed]
        if not lines:
            return
        if not self._log.is_as_left:
            # Somebody has cut, damaged or removed the file. Readers keep what they have until it is whole again.
            gone = {*removed}
            fresh = {site: entry for site, entry in self._entries.items() if site not in gone}
            self.rewrite((fresh | {entry.site: entry for entry in changed}).values())
            return
        # Not synced: what a power cut loses is found again at the start, by comparing the journal with `live`.
        self._log.append(lines, is_durable=False)
        for site in removed:
            self._entries.pop(site, None)
        self._entries.update((entry.site, entry) for entry in changed)
        if self._log.is_overgrown:
            # On a full disk the long file stays; its content is the same.
            with contextlib.suppress(OSError):
                self._log.rewrite(map(encode_entry, self._entries.values()))

    def rewrite(self, entries: Iterable[SiteEntry]) -> None:
        """Replace everything by one rename. Raises OSError."""
        fresh = {entry.site: entry for entry in entries}
        self._log.rewrite(map(encode_entry, fresh.values()))
        self._entries = fresh

    def close(self) -> None:
        self._log.close()


def _changes(lines: Iterable[Any]) -> tuple[dict[str, SiteEntry], list[str]]:
    """The last line of every site: the entries of those that are there, the keys of those that are gone."""
    changed: dict[str, SiteEntry] = {}
    removed: dict[str, None] = {}
    for line in lines:
        if (gone := line.get("removed")) is not None:
            changed.pop(gone, None)
            removed[gone] = None
        else:
            entry = decode_entry(line)
            removed.pop(entry.site, None)
            changed[entry.site] = entry
    return changed, list(removed)


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file; one `pread` stops at 2 GiB."""
    parts = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "can't be read"
    return f"a line can't be understood ({type(error).__name__}: {error})"
