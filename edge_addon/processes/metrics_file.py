"""How a worker's numbers get to the control process: a small file, replaced by rename, once a second where they change.

No socket and no lock on the data plane: control reads whenever somebody asks it, and a worker that has ended leaves its
last numbers behind. The form of the file is `certstore.monitoring.worker_reports`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
"""How often the file is written though nothing has changed: it says that the worker lives."""


class MetricsFile:
    """Of one worker; `start` once its plane runs, `stop` at its end."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._path = plane.layout.worker_report(os.getpid())
        self._id = f"{os.getpid()}-{time.time_ns()}"  # a pid comes again
        self._last = ""
        self._written = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            log.warning("this worker can't report its numbers: %s", error)
            return
        self._tick()

    def stop(self) -> None:
        """Leave the last numbers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._write()

    def _tick(self) -> None:
        self._write()
        self._timer = self._plane.loop.call_later(WRITE_SECONDS, self._tick)

    def _write(self) -> None:
        plane = self._plane
        facts = {
            "samples": [sample.to_json() for sample in plane.metrics.samples(plane)],
            "journal": plane.journal_position,
            "is_draining": plane.is_draining,
        }
        text = json.dumps(facts, separators=(",", ":"))[1:]
        now = plane.loop.time()
        if text == self._last and now - self._written < HEARTBEAT_SECONDS:
            return
        half = self._path.with_suffix(".new")
        try:
            half.write_text(f'{{"id":"{self._id}","pid":{os.getpid()},"at":{time.time():.3f},{text}', encoding="utf-8")
            half.replace(self._path)
        except OSError as error:
            if self._written >= 0:  # said once, until it works again
                log.warning("this worker can't report its numbers: %s", error)
            self._written = -HEARTBEAT_SECONDS
            return
        self._last, self._written = text, now
