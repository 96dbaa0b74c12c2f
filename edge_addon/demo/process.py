"""`certedge run` as a child process on sockets that are already bound (LISTEN_FDS, as systemd passes them).

Because the sockets are passed on, no other program can take their ports.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from edge_addon.demo import client

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
CONSOLE_SECONDS = 15.0
SET_UP_LINK = re.compile(r"https://\S+/setup\?link=\S+")
LAST_LINES = 15

# Runs in the child before the edge: moves the sockets to 3, 4, 5, …, and sets LISTEN_PID to the pid that exec keeps.
HAND_OVER = """
import fcntl, os, sys
count = int(sys.argv[1])
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 3 + count) for fd in sys.argv[2:2 + count]]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.close(fd)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "edge_addon.cli", *sys.argv[2 + count:]])
"""


class EdgeFailed(Exception):
    """The edge ended or did not become ready. The message contains the last lines of its log."""


class EdgeProcess:
    """The supervisor with its workers and control process, running within a `with`. Writes its output to `log`."""

    def __init__(self, edge_yaml: Path, sockets: Iterable[socket.socket], log: Path) -> None:
        fds = [listener.fileno() for listener in sockets]
        command = [sys.executable, "-c", HAND_OVER, str(len(fds)), *map(str, fds), "run", "--config", str(edge_yaml)]
        self._log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=fds
            )

    def wait_until_ready(self, health_port: int) -> None:
        """Return when a worker reports that it serves. Raises EdgeFailed if none does in time."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise EdgeFailed(f"the edge ended with exit code {self._child.returncode}:\n{self._last_lines()}")
            if _is_healthy(health_port):
                return
            time.sleep(0.05)
        raise EdgeFailed(f"the edge was not ready within {READY_SECONDS:.0f} s:\n{self._last_lines()}")

    def console_link(self) -> str | None:
        """The console's set-up link, which the log shows soon after the start; None if it does not."""
        deadline = time.monotonic() + CONSOLE_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            if found := SET_UP_LINK.search(self._log.read_text(errors="replace")):
                return found[0]
            time.sleep(0.05)
        return None

    def wait(self) -> int:
        """Wait until the edge ends by itself, and return its exit code."""
        return self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def _is_healthy(port: int) -> bool:
    try:
        return client.get_plain(port, "localhost", "/").status == 200
    except OSError:
        return False  # not listening yet
