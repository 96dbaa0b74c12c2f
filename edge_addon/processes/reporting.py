"""Keeps the supervisor's report of the service up to date: which settings run, and what became of the last reload.

`certedge reload` waits for it, and `certedge status` shows it. Serving never depends on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.service_state import ServiceState, Verdict
from certstore.model.settings.models import Settings
from certstore.monitoring.service_report import installation, settings_digest, start_of, write_report

log = logging.getLogger(__name__)


class Reporting:
    """The report of this process, from its start to `close`."""

    def __init__(self, config: Path, begun: int = 0) -> None:
        """`begun` is what the release before had begun, if this process continues its work."""
        self._config = config.absolute()
        self._installation = installation()
        self._layout: Layout | None = None
        self._digest = ""
        self._applied_at = datetime.now(UTC)
        self._begun = begun
        self._ended = max(0, begun - 1)
        self._verdict = Verdict.PENDING
        self._message = ""
        self._problems: tuple[str, ...] = ()
        self._is_logged = False

    @property
    def installation(self) -> str:
        """The program that runs."""
        return self._installation

    @property
    def begun(self) -> int:
        return self._begun

    def begin(self) -> None:
        """A start, reload or upgrade begins; to be called before edge.yaml is read."""
        self._begun += 1
        self._write()

    def applied(self, settings: Settings, problems: Sequence[str]) -> None:
        """These settings run from now on; processes that serve with them are being started."""
        before, self._layout = self._layout, Layout(self._config.parent / settings.store)
        if before is not None and before.root != self._layout.root:
            _remove(before)
        self._digest, self._applied_at = settings_digest(settings), datetime.now(UTC)
        self._problems = tuple(problems)
        self._verdict, self._message = Verdict.PENDING, "starting processes with the new settings"
        self._write()

    def ended(self, verdict: Verdict, message: str) -> None:
        """The last that began came to this."""
        self._ended, self._verdict, self._message = self._begun, verdict, message
        self._write()

    def close(self) -> None:
        """The service stops."""
        if self._layout is not None:
            _remove(self._layout)

    def _write(self) -> None:
        # Until control has made a new store, there is nowhere to write to.
        if self._layout is None or not self._layout.state.is_dir():
            return
        state = ServiceState(
            os.getpid(), start_of(os.getpid()), str(self._config), self._digest, self._applied_at,
            self._begun, self._ended, self._verdict, self._message, self._problems, self._installation,
        )  # fmt: skip
        try:
            write_report(self._layout, state)
            self._is_logged = False
        except OSError as error:
            if not self._is_logged:
                log.warning("can't report the state of the service: %s", error)
            self._is_logged = True


def _remove(layout: Layout) -> None:
    """One that stays does no harm: it counts only while its process lives."""
    with contextlib.suppress(OSError):
        layout.service_report.unlink(missing_ok=True)
