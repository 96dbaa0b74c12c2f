"""Logging of the service's processes: one line per event on stderr, for journald, a container's log or a terminal.

Each line names its process. mitmproxy logs only warnings and errors: its notes at the start repeat ours. What strangers
name (paths, names, other servers' words) may be in any message: nothing of it moves a terminal's cursor or looks like a
line of its own.
"""

from __future__ import annotations

import logging
import sys

LINE = "%(asctime)s {process} %(levelname)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"


class QuotingFormatter(logging.Formatter):
    """Shows control characters instead of letting a terminal obey them, and indents the further lines of a message."""

    def format(self, record: logging.LogRecord) -> str:
        first, *others = super().format(record).split("\n")
        return "\n    ".join(map(_quoted, [first, *others]))


def _quoted(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line)


def configure(process: str) -> None:
    """Log as `process`; a child calls this again after its fork."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(QuotingFormatter(LINE.format(process=process), TIME))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)
