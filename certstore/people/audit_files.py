"""The files of the audit log: one is appended to and, when it is large, rotated by a rename; the oldest are removed
once they are too many and too old.

A place in the log is the number of bytes ever written before it. The name of a rotated file holds the place at which it
begins, so places stay valid when files are rotated or removed. Must not know what the lines mean.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from certstore.files.atomic import sync_folder, write_all
from certstore.files.clock import Clock, utc_now
from certstore.model.layout import AUDIT_LOG, AUDIT_PARTS, audit_part, audit_part_begins

logger = logging.getLogger(__name__)

LARGEST = 8 << 20
KEPT = 12
"""Rotated files that stay however old; with the current one, about 100 MB or 400,000 entries."""

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Piece:
    """An open file, the place at which it begins, and its size when opened: lines beyond that may be incomplete."""

    begins: int
    file: BinaryIO
    size: int


class AuditFiles:
    """Used from several threads. Writing raises OSError. What was written within the time `lasts` is never removed."""

    def __init__(
        self,
        folder: Path,
        *,
        largest: int = LARGEST,
        kept: int = KEPT,
        lasts: timedelta = timedelta(),
        clock: Clock = utc_now,
    ) -> None:
        self._folder = folder
        self._current = folder / AUDIT_LOG
        self._largest = largest
        self._kept = kept
        self._lasts = lasts
        self._clock = clock
        self._lock = threading.Lock()

    def append(self, line: bytes) -> None:
        """Durable when this returns."""
        with self._lock:
            if self._size() >= self._largest:
                self._rotate()
            descriptor = self._open()
            try:
                write_all(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def lines_backwards(self, before: int | None) -> Generator[tuple[int, bytes]]:
        """(place, line), newest first. Reads only as much as the caller consumes."""
        with self._opened() as pieces:
            for piece in reversed(pieces):
                end = piece.size if before is None else min(max(before - piece.begins, 0), piece.size)
                for start, line in _backwards(piece.file, end):
                    yield piece.begins + start, line

    def content(self) -> Iterator[bytes]:
        """All complete lines that are kept, oldest first, in blocks."""
        with self._opened() as pieces:
            for piece in pieces:
                while piece.file.tell() < piece.size and (lines := piece.file.readlines(_CHUNK)):
                    yield b"".join(line for line in lines if line.endswith(b"}\n"))

    def _open(self) -> int:
        """The current file. Ends a line that a power cut left incomplete, so that the next line is not lost with it."""
        descriptor = os.open(self._current, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > 0 and os.pread(descriptor, 1, size - 1) != b"\n":
                write_all(descriptor, b"\n")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _size(self) -> int:
        try:
            return self._current.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        """If the disk refuses, the log grows beyond its bound; no entry is lost."""
        try:
            os.close(self._open())  # a rotated file ends with a complete line
            self._current.rename(self._folder / audit_part(self._end_of_rotated()))
            sync_folder(self._folder)
            for oldest in self._rotated()[: -self._kept]:
                if self._is_recent(oldest):
                    break
                oldest.unlink()
                logger.warning("removed %s, the oldest part of the audit log; %d parts are kept", oldest, self._kept)
        except OSError as error:
            logger.error("the audit log can't be rotated and grows: %s", error.strerror)

    def _is_recent(self, part: Path) -> bool:
        """By its last entry: a rename leaves the time of the last write."""
        return self._lasts > self._clock() - datetime.fromtimestamp(part.stat().st_mtime, UTC)

    def _rotated(self) -> list[Path]:
        return sorted(self._folder.glob(AUDIT_PARTS))

    def _end_of_rotated(self) -> int:
        rotated = self._rotated()
        return audit_part_begins(rotated[-1]) + rotated[-1].stat().st_size if rotated else 0

    @contextlib.contextmanager
    def _opened(self) -> Iterator[list[_Piece]]:
        """All files as they are now; an open file stays readable when it is renamed or removed."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                found = [(audit_part_begins(path), path) for path in self._rotated()]
                if self._current.exists():
                    found.append((self._end_of_rotated(), self._current))
                files = [(begins, stack.enter_context(path.open("rb"))) for begins, path in found]
                pieces = [_Piece(begins, file, os.fstat(file.fileno()).st_size) for begins, file in files]
            yield pieces


def _backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """(start, line) of each line before `end`, last line first."""
    rest = b""
    while end > 0:
        start = max(end - _CHUNK, 0)
        file.seek(start)
        block = file.read(end - start) + rest
        lines = block.split(b"\n")
        # The first line may have begun before this block.
        rest = lines[0] if start > 0 else b""
        place = start + len(block)
        for line in reversed(lines[1:] if start > 0 else lines):
            place -= len(line)
            if line:
                yield place, line
            place -= 1
        end = start
