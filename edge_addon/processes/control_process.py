"""The control process as a child of the supervisor: certstore's control, which ends with its parent."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from pathlib import Path

from certstore.admin.start import serve_console
from certstore.control.process import CannotServe, run_control
from certstore.model.settings.models import Settings
from edge_addon.processes.forking import ParentLink

log = logging.getLogger(__name__)


def run(parent: ParentLink, settings: Settings, base: Path, applied: str = "") -> int:
    """Run until SIGTERM or the end of the supervisor. SIGQUIT ends it immediately, which the store survives.

    `applied` as for `run_control`.
    """
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(1))
    threading.Thread(target=_end_with_supervisor, args=(parent.lifeline,), name="lifeline", daemon=True).start()
    try:
        run_control(settings, base, console=serve_console, ready=parent.announce_ready, applied=applied)
    except CannotServe as error:
        log.error("%s", error)
        return 1
    return 0


def _end_with_supervisor(lifeline: int) -> None:
    # Not by reading: all children share the pipe, and the event loop of a worker has made it non-blocking.
    select.select([lifeline], [], [])
    os.kill(os.getpid(), signal.SIGTERM)
