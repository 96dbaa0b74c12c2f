"""One writer per store: an flock on `.lock`, into which the holder writes its pid for those who are refused.

The kernel releases the lock when the process ends, so a file left by a dead one does no harm. Knows nothing of the
store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

DYING_SECONDS = 5.0
_PAUSE = 0.01


class StoreBusy(Exception):
    """Another process writes this store; `pid` is None when the lock file does not name it."""

    def __init__(self, lock: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{holder} is writing to {lock.parent}: stop it, or let it do the work")
        self.pid = pid


class WriterLock:
    """Held from `take` until `release` or the end of the process.

    The descriptor is closed on exec but shared by a fork, so take the lock after forking. A process that is killed
    while it starts a program leaves the lock to the child, until that has got as far as exec.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> WriterLock:
        """Waits a moment where the holder is dead. Raises StoreBusy, or PermissionError for a user who may not write
        the store.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + DYING_SECONDS
        while not _is_locked(descriptor):
            pid = _read_pid(descriptor)
            if pid is None or _is_running(pid) or time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreBusy(path, pid)
            time.sleep(_PAUSE)
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


def _is_locked(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
