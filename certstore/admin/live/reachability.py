"""Whether this server reaches the CA: checked now and then in the background, when somebody opens a page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from certstore.control.console import ConsoleContext

CHECKED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class CaCheck:
    """`failure` is empty if the CA's directory answered."""

    host: str
    at: datetime
    failure: str


class Reachability:
    """`latest` never waits: it returns the last result and starts a new check when that is due."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._last: CaCheck | None = None
        self._is_checking = False

    def latest(self) -> CaCheck | None:
        """None until the first check has ended, or if nothing is ever ordered."""
        last, clock = self._last, self._context.clock
        with self._lock:
            is_stale = last is None or clock() - last.at >= CHECKED_EVERY
            if is_stale and not self._is_checking and self._context.upkeep() is not None:
                self._is_checking = True
                threading.Thread(target=self._check, name="console-reach", daemon=True).start()
        return last

    def _check(self) -> None:
        from certstore.model.renewal.preflight_facts import DirectoryStep

        try:
            upkeep = self._context.upkeep()
            if upkeep is None:
                return
            context = upkeep.maintenance.context
            facts = context.preflight.check_directory(context.cas[0])
            failure = "" if facts.step is DirectoryStep.DONE else facts.seen or f"failed at: {facts.step.value}"
            self._last = CaCheck(context.cas[0].host, self._context.clock(), failure)
        finally:
            self._is_checking = False
