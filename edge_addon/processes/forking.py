"""Forks children of the supervisor, with a pipe each way.

All children hold the read end of one pipe, the lifeline, whose write end only the supervisor has: end of file means
that the supervisor has ended, for whatever reason. A status pipe per child tells the supervisor that the child is
ready and, by its end of file, that it has closed the sockets it inherited. Does not know what a child does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ParentLink:
    """A child's connection to the supervisor; `lifeline` is readable once the supervisor has ended."""

    lifeline: int
    announce_ready: Callable[[], None]
    """Report that the child does its work."""
    announce_closed: Callable[[], None]
    """Report that the child's copies of the listening sockets are closed, as they are anyway once it has ended."""


@dataclass(frozen=True, slots=True)
class ForkedChild:
    """What the supervisor has of a child. `status_fd`: a byte means ready, end of file that its sockets are closed."""

    pid: int
    status_fd: int


class Lifeline:
    """The pipe that ties children to the process that created it."""

    def __init__(self, ends: tuple[int, int] | None = None) -> None:
        """`ends` are those of the pipe that running children hold already, to read from and to write to."""
        self.read_fd, self.write_fd = os.pipe() if ends is None else ends

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


def fork(name: str, main: Callable[[ParentLink], int], lifeline: Lifeline, release: Callable[[], None]) -> ForkedChild:
    """Fork a child that runs `main` and exits with what it returns; raises OSError when the system refuses.

    `release` runs first in the child and closes what belongs to the supervisor alone. `ps` and `top` show the first 15
    characters of `name`.
    """
    status_fd, status_write_fd = os.pipe()
    # Both processes would write what is buffered now.
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that arrives now must not run the supervisor's handlers in the child.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            os.close(status_fd)
            _run_child(name, main, lifeline, release, status_write_fd, mask)
    except OSError:
        os.close(status_fd)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(status_write_fd)
    return ForkedChild(pid, status_fd)


def _run_child(
    name: str,
    main: Callable[[ParentLink], int],
    lifeline: Lifeline,
    release: Callable[[], None],
    status_write_fd: int,
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Run the child; never returns into the supervisor's code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        # SIGUSR1 asks to reopen logs: a child that starts has none open yet, and must not be killed by it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        # Ctrl-C in a terminal reaches the whole group; only the supervisor acts on it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        release()
        os.close(lifeline.write_fd)
        _rename(name)
        # A file object, not a descriptor: a worker that must stop while it starts reports ready after it has closed the
        # pipe, when the descriptor may already be a client's socket.
        status = os.fdopen(status_write_fd, "wb", buffering=0)
        code = main(ParentLink(lifeline.read_fd, lambda: _announce_ready(status), status.close))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.exception("%s ended with an error", name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _announce_ready(status: FileIO) -> None:
    if status.closed:
        return
    try:
        status.write(b"R")
    except OSError:
        return  # the supervisor has ended; the lifeline shows it too


def _rename(name: str) -> None:
    try:
        Path("/proc/self/comm").write_text(name[:15], encoding="ascii")
    except OSError:
        return  # not Linux, or /proc is not mounted: the name is only a convenience
