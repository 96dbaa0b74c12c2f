"""Processes forked off the supervisor: how they are born, say that they are ready, and learn of its end.

A child holds the read end of a pipe, the lifeline, whose write end only the supervisor has: end of file means that the
supervisor is gone, however it went. A pipe of its own tells the supervisor that the child is ready and, by its end,
that it has closed the sockets it inherited. What a child does is not known here.
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
    """What a child is given: `lifeline` is readable once the supervisor is gone."""

    lifeline: int
    announce_ready: Callable[[], None]
    """Say that it works."""
    announce_closed: Callable[[], None]
    """Say that its copies of the listening sockets are closed, as they are anyway once it has ended."""


@dataclass(frozen=True, slots=True)
class ForkedChild:
    """What the supervisor has of a child. `status_fd` yields a byte when it is ready, its end when it has closed."""

    pid: int
    status_fd: int


class Lifeline:
    """The pipe that ties children to the process that made it."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


def fork(name: str, main: Callable[[ParentLink], int], lifeline: Lifeline, release: Callable[[], None]) -> ForkedChild:
    """Fork a child that runs `main` and exits with what it returns; raises OSError when the system refuses.

    `release` runs first in the child: it closes what belongs to the supervisor alone. `name` is what `ps` and `top`
    show (15 characters).
    """
    status_fd, status_write_fd = os.pipe()
    # What is buffered now would be written twice, once by each.
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes now must not run the supervisor's handlers in the child.
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
    """The child's whole life; it never returns into the supervisor's code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # It asks for logs to be opened anew: one that starts has none open yet, and must not end of it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        # Ctrl-C in a terminal reaches the whole group; the supervisor alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        release()
        os.close(lifeline.write_fd)
        _rename(name)
        # A file, not its number: a worker that is told to go while it starts is ready after it has closed, and by then
        # the number may be a client's socket.
        status = os.fdopen(status_write_fd, "wb", buffering=0)
        code = main(ParentLink(lifeline.read_fd, lambda: _announce_ready(status), status.close))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.exception("%s ended by a fault of its own", name)
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
        return  # the supervisor is gone; the lifeline says so too


def _rename(name: str) -> None:
    try:
        Path("/proc/self/comm").write_text(name[:15], encoding="ascii")
    except OSError:
        return  # not Linux, or /proc is not mounted: the name is a comfort only
