"""Processes drops inside a single mitmproxy process, where no control process runs.

Renewal and warnings need the control process of `certedge run`; a line in the log says at the start that they are off.
"""

from __future__ import annotations

import logging
from pathlib import Path

from certstore.control.dispatch import acquire_writer
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter
from certstore.watch.watcher import DropWatcher

log = logging.getLogger(__name__)


class DropProcessor:
    """The store's writer and the threads that feed it, from `start` to `stop`."""

    def __init__(self, writer: StoreWriter, watcher: DropWatcher) -> None:
        self._writer = writer
        self._watcher = watcher

    @classmethod
    def start(cls, settings: Settings, base: Path) -> DropProcessor | None:
        """Become the store's writer; None when another process is the writer, and this one only serves.

        Raises RequestFailed or OSError when the store can't be opened for another reason.
        """
        try:
            writer = acquire_writer(settings, base)
        except RequestFailed as failure:
            if failure.fault is not Fault.BUSY:
                raise
            log.info("%s: this process only serves what that one publishes", failure.found)
            return None
        watcher = DropWatcher(writer, scan_seconds=settings.sweep_seconds)
        watcher.start()
        log.warning(
            "running alone in one process: drops are installed, but certificates are neither ordered nor renewed, and"
            " no warnings are sent; `certedge run` does all of this"
        )
        return cls(writer, watcher)

    def stop(self) -> None:
        """Finish what is under way and release the store."""
        self._watcher.stop()
        self._writer.close()
