"""`--watch`: shows something again whenever it has changed, until Ctrl-C.

On a terminal in the place of what was there; in a pipe below it.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch(show: Callable[[], object], *, seconds: float = SECONDS) -> None:
    """Returns when the user interrupts it. What `show` raises ends it too."""
    before = ""
    try:
        while True:
            shown = _captured(show)
            if shown != before:
                sys.stdout.write((_CLEAR if sys.stdout.isatty() else "\n" if before else "") + shown)
                sys.stdout.flush()
                before = shown
            time.sleep(seconds)
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            sys.stdout.write("\n")


def _captured(show: Callable[[], object]) -> str:
    """Everything at once, so that a terminal does not flicker; with its width and colours."""
    kept = _Terminal() if sys.stdout.isatty() else io.StringIO()
    with redirect_stdout(kept):
        show()
    return kept.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
