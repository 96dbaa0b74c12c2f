"""How the service's processes log: one line per event on stderr, for journald, a container's log or a terminal.

Each process says who it is. mitmproxy's own lines pass from warnings upwards: its start-up notes repeat ours.
"""

from __future__ import annotations

import logging
import sys

LINE = "%(asctime)s {process} %(levelname)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"


def configure(process: str) -> None:
    """Log as `process` from now on; a child calls it again after its fork."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=LINE.format(process=process), datefmt=TIME, force=True
    )
    for name in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)
