"""What systemd (or any service manager with the same two protocols) and the supervisor tell each other.

Sockets come in by LISTEN_FDS (sd_listen_fds(3)), states go out by NOTIFY_SOCKET (sd_notify(3)). Both are a few lines
of text and need no library. Knows nothing of listeners or workers.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

FIRST_FD = 3


def inherited_fds(environment: Mapping[str, str], pid: int) -> list[int]:
    """Descriptors that were handed to this very process; the variables of another process are not for us."""
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = environment.get("LISTEN_FDS", "")
    return list(range(FIRST_FD, FIRST_FD + int(count))) if count.isascii() and count.isdigit() else []


def take_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The inherited sockets, owned by us from now on; children will not believe that they are theirs."""
    sockets = []
    for fd in inherited_fds(environment, os.getpid()):
        try:
            os.set_inheritable(fd, False)
            sockets.append(socket.socket(fileno=fd))
        except OSError:
            continue  # closed, or no socket: nothing that a listener could use
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    return sockets


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """How often WATCHDOG=1 is due: half of what the manager waits for; None when it does not watch this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid) or not microseconds.isdigit() or not int(microseconds):
        return None
    return int(microseconds) / 2_000_000


class Notifier:
    """Tells the service manager how things are; silent where there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if path else None

    def notify(self, *assignments: str) -> None:
        """Send one message of `NAME=value` lines. A manager that does not listen is no reason to fail."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:
            return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def ready(self, status: str) -> None:
        self.notify("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """`Type=notify-reload` wants the moment too, by the clock that systemd compares with."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        self.notify("STOPPING=1", f"STATUS={status}")

    def watchdog(self) -> None:
        self.notify("WATCHDOG=1")
