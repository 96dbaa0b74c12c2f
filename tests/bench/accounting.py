"""What the operating system reports of a server's processes and threads: CPU time and memory.

The benchmark counts CPU time per operation, because other programs on the machine don't change it; they do change
operations per second.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_QUIET_SECONDS = 0.06


def process_tree(root: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, their threads and the children they have waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(int(ticks) for ticks in _stat(pid)[11:15])
    return total * TICK_SECONDS


def wait_until_started(pids: Iterable[int]) -> None:
    """Wait for work that a server still does after it has begun to serve: scan its store, start a console."""
    settled_cpu_seconds(pids, settle_timer=90.0, moment=1.0)


def settled_cpu_seconds(pids: Iterable[int], settle_timer: float = 2.0, moment: float = _QUIET_SECONDS) -> float:
    """The CPU time once the processes have been at rest for a moment: work that a load leaves behind belongs to it.

    Waits at most `patience` seconds for a `moment` of (nearly) no work.
    """
    pids = list(pids)
    deadline = time.monotonic() + settle_timer
    last = cpu_seconds(pids)
    while time.monotonic() < deadline:
        time.sleep(moment)
        now = cpu_seconds(pids)
        if now - last < 1.5 * TICK_SECONDS + moment / 50:
            return now
        last = now
    return last


def pss_kilobytes(pids: Iterable[int]) -> float:
    """Total memory of these processes; shared memory is counted once (proportional set size)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return float(total)


def name_of(pid: int) -> str:
    """The name that a process gave itself; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def machine() -> str:
    """Cores, processor, memory, kernel: one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip() + ", "
            break
    return f"{os.cpu_count()} cores, {model}{memory:.0f} GB, Linux {platform.release()}"


def load_average() -> float:
    return os.getloadavg()[0]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (the third; proc(5) counts from 1)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
