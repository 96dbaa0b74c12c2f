"""Watches single folders anywhere, thousands of them with one thread, through inotify (inotify(7)).

watchdog spends a thread on each folder. This one says only that something happened in a folder, not what. Knows nothing
of drops.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("iIII")
_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
_ONLY_FOLDERS = 0x01000000
_IGNORED = 0x8000
# IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF:
# no reading, or a check would set off the next.
_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_BUFFER = 65536


class FolderWatches:
    """`happened` is called, from a thread of its own, with every folder in which something has changed.

    Safe for several threads. Raises OSError where the system has no inotify, or no more of it.
    """

    def __init__(self, happened: Callable[[Path], None]) -> None:
        self._happened = happened
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._lock = threading.Lock()
        self._paths: dict[int, set[Path]] = {}
        """By watch: one folder may be reached by several paths."""
        self._watches: dict[Path, int] = {}
        self._inotify = self._called(self._libc.inotify_init1(_CLOEXEC_NONBLOCK))
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._read, name="drop-links", daemon=True)
        self._thread.start()

    def watch(self, folder: Path) -> None:
        """From now on. Watching it again costs nothing, and finds the folder that is in its place by now."""
        with self._lock:
            watch = self._called(
                self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), _CHANGES | _ONLY_FOLDERS)
            )
            if self._watches.get(folder, watch) != watch:
                self._forget(folder)
            self._watches[folder] = watch
            self._paths.setdefault(watch, set()).add(folder)

    def unwatch(self, folder: Path) -> None:
        with self._lock:
            if folder in self._watches:
                self._forget(folder)

    def stop(self) -> None:
        os.eventfd_write(self._stopping, 1)
        self._thread.join()
        os.close(self._inotify)
        os.close(self._stopping)

    def _forget(self, folder: Path) -> None:
        watch = self._watches.pop(folder)
        paths = self._paths.get(watch, set())
        paths.discard(folder)
        if not paths:
            self._paths.pop(watch, None)
            self._libc.inotify_rm_watch(self._inotify, watch)  # it fails where the folder itself is gone

    def _read(self) -> None:
        poll = select.poll()
        for descriptor in (self._inotify, self._stopping):
            poll.register(descriptor, select.POLLIN)
        while self._stopping not in {descriptor for descriptor, _ in poll.poll()}:
            try:
                events = os.read(self._inotify, _BUFFER)
            except BlockingIOError:
                continue
            for folder in self._changed(events):
                try:
                    self._happened(folder)
                except Exception:  # one folder's trouble must not end the watching of all others
                    logger.exception("a change in %s could not be followed", folder)

    def _changed(self, events: bytes) -> set[Path]:
        found: set[Path] = set()
        position = 0
        with self._lock:
            while position < len(events):
                watch, mask, _, size = _HEADER.unpack_from(events, position)
                position += _HEADER.size + size
                if watch == -1:  # events were lost (IN_Q_OVERFLOW)
                    found.update(self._watches)
                found |= self._paths.get(watch, set())
                if mask & _IGNORED:  # the folder is gone, and its watch with it
                    for path in self._paths.pop(watch, set()):
                        self._watches.pop(path, None)
        return found

    @staticmethod
    def _called(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
