"""Resource limits of the service: enough open files for its connections, and no core dumps.

For the sake of old programs, most systems start a service with 1,024 open files and let it raise that. With so few the
edge would silently stop accepting clients at about 500. Every process forked afterwards inherits the limits.
"""

from __future__ import annotations

import logging
import resource

from edge_addon.plane.open_files import MOST_FILES, SPARE_FILES

log = logging.getLogger(__name__)

FILES_PER_CONNECTION = 2
"""A mail client's socket and its server's. The plane counts the files, and refuses clients that would need more."""


def raise_limits(connections: int) -> None:
    """Raise the limit of open files as far as allowed; warn when `connections` in one worker need more.

    Core dumps are turned off, because they would contain private keys.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else hard
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
