"""An upgrade: the release that is installed now takes over the process of the supervisor that runs.

It first shows in a process of its own that it can: it imports every module, reads the settings, opens the sockets and
loads what is served. Only then it takes over. What happens before leaves the running service as it is, and what fails
after brings the previous release back.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import certstore
import edge_addon
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.monitoring.service_report import installation
from certstore.store.journal import JournalReader, JournalUnreadable
from edge_addon.listeners.listening import ListeningSockets
from edge_addon.listeners.sockets import CannotListen
from edge_addon.processes import handover, logs
from edge_addon.processes.handover import Handover
from edge_addon.settings_file import BadSettings, read_settings, settings_in
from edge_addon.transport.served_contexts import served_contexts

log = logging.getLogger(__name__)

TRIAL_SECONDS = 240.0
"""A trial that takes longer hangs: it needs 2 s of CPU, or 10 s if nothing is compiled yet."""
_MOST_OUTPUT = 1 << 16


def _commands() -> tuple[tuple[str, ...], tuple[str, ...]]:
    script = Path(sys.argv[0])
    if script.suffix == ".py" or not os.access(script, os.X_OK):
        both = (sys.executable, *sys.orig_argv[1:])
        return both, both
    return (str(script.resolve()), *sys.argv[1:]), (str(script.absolute()), *sys.argv[1:])


THIS_COMMAND, NEXT_COMMAND = _commands()
"""What starts this release, and what starts the one that will be installed when it is asked for: the program by the
name it was started with, which may be a link. Found while the link leads to this one."""


def applicable(config: Path, sockets: ListeningSockets, running: Settings, generation: int = 0) -> tuple[Settings, str]:
    """Read edge.yaml in place of the settings that run, and listen as it says; the settings and their text.

    Raises BadSettings and CannotListen, and then changes nothing.
    """
    text = read_settings(config)
    settings = settings_in(text, config)
    if running.listeners and not settings.listeners:
        # An empty file is valid, and some editors leave one for a moment.
        raise CannotListen(f"{config} no longer names a listener; stop the service if you want it to serve nobody")
    sockets.adopt(settings.listeners, generation)
    return settings, text


class Trial:
    """The process in which the next release shows that it could take over."""

    def __init__(self, command: tuple[str, ...], facts: Handover) -> None:
        """Raises OSError if it can't be started."""
        self._output = b""
        self.deadline = time.monotonic() + TRIAL_SECONDS
        sockets = [each.fd for each in facts.sockets]
        # A descriptor, not Popen's file object, which would close another's descriptor in the child of a fork.
        self.output_fd, output = os.pipe()
        try:
            with handover.written(facts) as descriptor:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, handover.TRY: str(descriptor)},
                    pass_fds=[descriptor, *sockets],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
        except OSError:
            os.close(self.output_fd)
            raise
        finally:
            os.close(output)
        os.set_blocking(self.output_fd, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_output(self) -> bool:
        """Whether there may be more."""
        try:
            part = os.read(self.output_fd, _MOST_OUTPUT)
        except BlockingIOError:
            return True
        self._output = (self._output + part)[-_MOST_OUTPUT:]
        return bool(part)

    def kill(self) -> None:
        self._process.kill()

    def ended(self, status: int) -> str:
        """Why it can't take over, from the status that the supervisor has collected; empty if it can."""
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        self.read_output()  # a pipe holds no more than one reading takes
        os.close(self.output_fd)
        if code == 0:
            return ""
        if code == -signal.SIGKILL and time.monotonic() >= self.deadline:
            return f"it has not started after {TRIAL_SECONDS:g} s"
        lines = self._output.decode("utf-8", "replace").strip().splitlines()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return lines[-1].strip() if lines else f"it ended without a word ({how})"


def perform_trial(config: Path) -> int:
    """What the process of a trial does: all that a start does, but to serve. Exit code: 0 it can take over."""
    try:
        facts = handover.take(os.environ, handover.TRY)
        assert facts is not None  # noqa: S101
        for each in facts.children:
            each.child()  # fails if this release does not know its phase
        _import_all((certstore.__path__, "certstore."), (edge_addon.__path__, "edge_addon."))
        settings, _ = applicable(
            config, ListeningSockets.taken_over(facts.sockets), settings_in(facts.settings, config)
        )
        layout = Layout(config.parent / settings.store)
        if layout.snapshot_journal.exists():
            JournalReader(layout).load()
        served_contexts(layout, settings).warm(0)
    except (BadSettings, CannotListen, JournalUnreadable) as error:
        logs.print_error(str(error))
        return 1
    except Exception as error:  # noqa: BLE001  whatever a broken release raises
        logs.print_error(f"{installation()} does not start: {type(error).__name__}: {error}")
        return 1
    return 0


def _import_all(*packages: tuple[Iterable[str], str]) -> None:
    """Also what a running service would import only later."""
    for paths, prefix in packages:
        for module in pkgutil.walk_packages(paths, prefix, onerror=_fail):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _fail(name: str) -> None:
    raise  # noqa: PLE0704  pkgutil calls this while it handles the error


def go_back(facts: Handover, error: Exception) -> None:
    """Give the process back to the release before, which says what this one failed with. Returns if that can't be."""
    if facts.failure:
        return  # it is the release before
    log.error("can't take over from %s, which continues: %s", facts.installation, error, exc_info=error)
    failure = f"{installation()} could not take over: {type(error).__name__}: {error}"
    back = Handover.from_json(facts.to_json() | {"failure": failure})
    with contextlib.suppress(OSError):
        handover.execute(facts.previous, back)
