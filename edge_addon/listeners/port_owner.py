"""Finds the process that listens on a port, to explain "address already in use"; reads /proc.

Linux shows which socket listens where (`/proc/net/tcp`) and which process holds which socket (`/proc/PID/fd`), the
latter only for one's own processes, unless root asks. Nothing here raises; the answer may be None.
"""

from __future__ import annotations

import glob
from pathlib import Path

LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


def listening_inodes(table: str, port: int) -> set[int]:
    """Inodes of the sockets that listen on `port`, from the text of /proc/net/tcp or tcp6."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTENING:
            continue
        if int(fields[1].rpartition(":")[2], 16) == port:
            found.add(int(fields[9]))
    return found


def find_port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """`nginx (pid 123)`, several joined by commas; None when /proc does not show it."""
    inodes: set[int] = set()
    for table in ("tcp", "tcp6"):
        try:
            inodes |= listening_inodes((proc / "net" / table).read_text(), port)
        except OSError:
            continue
    targets = {f"socket:[{inode}]" for inode in inodes}
    # Unlike `Path.glob`, `iglob` skips the folders of processes that end meanwhile.
    links = glob.iglob(f"{glob.escape(str(proc))}/[0-9]*/fd/*") if targets else ()  # noqa: PTH207
    owners = sorted({int(each.parts[-3]) for each in map(Path, links) if _link(each) in targets})
    return ", ".join(f"{_name(proc, pid)} (pid {pid})" for pid in owners) or None


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # closed meanwhile


def _name(proc: Path, pid: int) -> str:
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return "a process"
