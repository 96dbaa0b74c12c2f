"""Socket activation and notifications of systemd, or of any service manager with the same protocols.

Sockets come in by LISTEN_FDS (sd_listen_fds(3)); the state is reported by NOTIFY_SOCKET (sd_notify(3)). Both are a few
lines of text and need no library. Knows nothing of listeners or workers.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

FIRST_FD = 3


def inherited_fds(environment: Mapping[str, str], pid: int) -> list[int]:
    """The descriptors passed to this process; variables meant for another process are ignored."""
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = environment.get("LISTEN_FDS", "")
    return list(range(FIRST_FD, FIRST_FD + int(count))) if count.isascii() and count.isdigit() else []


def take_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take ownership of the inherited sockets, and clear the variables so that children don't."""
    sockets = []
    for fd in inherited_fds(environment, os.getpid()):
        try:
            os.set_inheritable(fd, False)
            sockets.append(socket.socket(fileno=fd))
        except OSError:
            continue  # closed, or not a socket: no listener can use it
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    return sockets


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """The interval of WATCHDOG=1, half the manager's timeout; None when it does not watch this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid) or not microseconds.isdigit() or not int(microseconds):
        return None
    return int(microseconds) / 2_000_000


class Notifier:
    """Reports the state to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if path else None

    def notify(self, *assignments: str) -> None:
        """Send one message of `NAME=value` lines. A manager that does not listen causes no error."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def reloading(self) -> None:
        """`Type=notify-reload` also wants the time, by the clock that systemd uses."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
