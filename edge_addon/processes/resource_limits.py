"""What the system lets this process have: open files enough for its connections, and no core dumps.

Most systems start a service with 1,024 open files for old programs' sake, and let it ask for more. Without asking, the
edge would stop accepting clients at some 500, without a word. Inherited by every process forked afterwards.
"""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

FILES_PER_CONNECTION = 2
"""The client's socket and the upstream's."""

SPARE_FILES = 512
"""Idle upstream connections, libraries, logs."""

MAX_FILES = 1 << 20
"""Where the system sets no bound of its own."""


def raise_limits(connections: int) -> None:
    """Ask for all open files that may be had, say so when `connections` of one worker would need more.

    A process that crashes leaves no memory image: keys would lie in it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else hard
    if soft < most:
        soft = most
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    needed = connections * FILES_PER_CONNECTION + SPARE_FILES
    if soft < needed:
        log.warning(
            "limits.connections is %d, but with %d open files a worker serves %d at most: raise LimitNOFILE (ulimit -n)"
            " to %d, or lower limits.connections",
            connections, soft, max(soft - SPARE_FILES, 0) // FILES_PER_CONNECTION, needed,
        )  # fmt: skip
