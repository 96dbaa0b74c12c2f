"""How many open files a worker may use for connections, so that it never runs out of them.

Without a free descriptor the event loop would accept clients only to drop them, and no certificate could be read.
"""

from __future__ import annotations

import resource

SPARE_FILES = 512
"""Listening sockets, logs, libraries, certificates that are being read, connections that are being closed."""
MOST_FILES = 1 << 20
"""The limit where the system sets none."""


def files_for_connections() -> int:
    """Return how many this process may use for connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return share(MOST_FILES if soft == resource.RLIM_INFINITY else soft)


def share(files: int) -> int:
    """Return what is left of `files` for connections."""
    return files - min(SPARE_FILES, files // 2)
