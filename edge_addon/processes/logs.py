"""Logging of the service's processes: one line per event on stderr, for journald, a container's log or a terminal.

Each line names its process. mitmproxy logs only warnings and errors: its notes at the start repeat ours.
"""

from __future__ import annotations

import logging
import sys

LINE = "%(asctime)s {process} %(levelname)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"


def configure(process: str) -> None:
    """Log as `process`; a child calls this again after its fork."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=LINE.format(process=process), datefmt=TIME, force=True
    )
    for name in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)
