"""Whether the CA can be reached from here: asked now and then, beside the requests, when somebody looks at a page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from certstore.admin.context import ConsoleContext

ASKED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Reached:
    """`seen` says what went wrong, empty where the directory answered."""

    host: str
    at: datetime
    seen: str


class Reachability:
    """`now` never waits: it gives what was found last, and sees to it that somebody asks again in time."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._last: Reached | None = None
        self._is_asking = False

    def now(self) -> Reached | None:
        """None until there was an answer, or where nothing is ever ordered."""
        last, clock = self._last, self._context.clock
        with self._lock:
            is_stale = last is None or clock() - last.at >= ASKED_EVERY
            if is_stale and not self._is_asking and self._context.upkeep() is not None:
                self._is_asking = True
                threading.Thread(target=self._ask, name="console-reach", daemon=True).start()
        return last

    def _ask(self) -> None:
        from certstore.model.renewal.preflight_facts import DirectoryStep

        try:
            upkeep = self._context.upkeep()
            if upkeep is None:
                return
            tools = upkeep.maintenance.context
            facts = tools.preflight.check_directory(tools.cas[0])
            seen = "" if facts.step is DirectoryStep.DONE else facts.seen or f"not beyond: {facts.step.value}"
            self._last = Reached(tools.cas[0].host, self._context.clock(), seen)
        finally:
            self._is_asking = False
