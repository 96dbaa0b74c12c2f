"""Logging of the service's processes: one line per event on stderr, for journald, a container's log or a terminal.

Each line names its process. The journal learns each line's priority (sd-daemon(3)), and has the time itself. mitmproxy
logs only warnings and errors: its notes at the start repeat ours. What strangers name (paths, names, other servers'
words) may be in any message: nothing of it moves a terminal's cursor or looks like a line of its own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

LINE = "%(asctime)s {process} %(levelname)s %(message)s"
JOURNAL_LINE = "{process} %(levelname)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"


class QuotingFormatter(logging.Formatter):
    """Shows control characters instead of letting a terminal obey them, and indents the further lines of a message."""

    def format(self, record: logging.LogRecord) -> str:
        first, *others = super().format(record).split("\n")
        return "\n    ".join(map(_quoted, [first, *others]))


class JournalFormatter(QuotingFormatter):
    """Begins every line with its priority, as each line is an entry."""

    def format(self, record: logging.LogRecord) -> str:
        mark = _priority(record.levelno)
        return "\n".join(f"{mark}{line}" for line in super().format(record).split("\n"))


def _priority(level: int) -> str:
    """As in syslog(3)."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return f"<{next((priority for least, priority in steps if level >= least), 7)}>"


def writes_to_journal(environment: Mapping[str, str]) -> bool:
    """Whether our stderr is the journal's: the variable may be inherited while stderr leads elsewhere
    (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def print_error(text: str) -> None:
    """What a command says in the end, before or instead of a log."""
    mark = _priority(logging.ERROR) if writes_to_journal(os.environ) else ""
    sys.stderr.write("".join(f"{mark}{_quoted(line)}\n" for line in text.split("\n")))


def _quoted(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line)


def configure(process: str) -> None:
    """Log as `process`; a child calls this again after its fork."""
    handler = logging.StreamHandler(sys.stderr)
    if writes_to_journal(os.environ):
        handler.setFormatter(JournalFormatter(JOURNAL_LINE.format(process=process)))
    else:
        handler.setFormatter(QuotingFormatter(LINE.format(process=process), TIME))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)
