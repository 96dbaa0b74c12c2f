"""One writer per store: an flock on `.lock`, into which the holder writes its pid for those who are refused.

The kernel releases the lock when the process ends, so a file left by a dead one does no harm. Knows nothing of the
store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class StoreBusy(Exception):
    """Another process writes this store; `pid` is None when the lock file does not name it."""

    def __init__(self, lock: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{holder} is writing to {lock.parent}: stop it, or let it do the work")
        self.pid = pid


class WriterLock:
    """Held from `take` until `release` or the end of the process.

    The descriptor is closed on exec but shared by a fork, so take the lock after forking.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> WriterLock:
        """Raises StoreBusy, or PermissionError for a user who may not write the store."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise StoreBusy(path, pid) from None
        # A full disk must not prevent writing: the pid is a courtesy, and the lock itself needs no space.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Idempotent. The file stays: without it, two processes could lock two files of the same name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
