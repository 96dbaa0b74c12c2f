"""`certedge run`: binds the sockets, starts control and the workers, keeps them alive and stops them in order.

A synchronous process without threads, so that it can fork at any time: it waits in one `select` for signals and for
the status of children, reports to its `Fleet` what happened and does what the fleet decides. It serves nothing itself,
so little can take it down.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.service_state import Verdict
from certstore.model.settings.models import Settings
from certstore.net.tls_engine import engine_in_force
from edge_addon.addon.edge import Inherited
from edge_addon.listeners.listening import ListeningSockets
from edge_addon.listeners.sockets import CannotListen
from edge_addon.plane.connection_counts import ConnectionCounts, Tally
from edge_addon.processes import control_process, forking, handover, logs, resource_limits, upgrade, worker
from edge_addon.processes.fleet import Child, Fleet, Order, Role, Slot, Start, Stop
from edge_addon.processes.handover import Handover, HeldChild
from edge_addon.processes.reporting import Reporting
from edge_addon.processes.systemd import Notifier, take_sockets, watchdog_seconds
from edge_addon.settings_file import BadSettings, read_settings, settings_in
from edge_addon.transport.served_contexts import ServedContexts, served_contexts

log = logging.getLogger(__name__)

SIGNALS = {
    Order.RETIRE: signal.SIGUSR2,
    Order.STOP: signal.SIGTERM,
    Order.QUIT: signal.SIGQUIT,
    Order.KILL: signal.SIGKILL,
}
"""The signal of each order; `worker` and `control_process` handle them."""

HANDLED = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def run(config: Path) -> int:
    """Run the service until it is stopped. Exit code: 0 stopped, 1 can't listen, 2 invalid settings."""
    logs.configure("supervisor")
    if handover.TRY in os.environ:
        return upgrade.perform_trial(config)
    given = handover.take(os.environ, handover.TAKE_OVER)
    if given is not None:
        return _take_over(config, given)
    try:
        text = read_settings(config)
        settings = settings_in(text, config)
    except BadSettings as error:
        logs.print_error(str(error))
        return 2
    sockets = ListeningSockets(take_sockets(os.environ))
    try:
        sockets.adopt(settings.listeners)
    except CannotListen as error:
        logs.print_error(str(error))
        return 1
    return _run(Supervisor(config, settings, text, sockets))


def _take_over(config: Path, given: Handover) -> int:
    """Continue the work of the release before in its process, with its sockets and children."""
    try:
        sockets = ListeningSockets.taken_over(given.sockets)
        running, refused = settings_in(given.settings, config), given.failure
        try:
            settings, text = upgrade.applicable(config, sockets, running)
        except (BadSettings, CannotListen) as error:
            # The file has changed since the trial, or the release before could not use it either.
            refused = refused or str(error)
            settings, text = running, given.settings
            sockets.adopt(settings.listeners)
        supervisor = Supervisor(config, settings, text, sockets, given, refused)
    except Exception as error:
        upgrade.go_back(given, error)
        raise
    return _run(supervisor)


def _run(supervisor: Supervisor) -> int:
    with supervisor.signals_handled():
        supervisor.run()
    return 0


class Supervisor:
    """The parent of all processes. Nothing needs it to serve; it restarts what fails."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        text: str,
        sockets: ListeningSockets,
        given: Handover | None = None,
        refused: str = "",
    ) -> None:
        """`text` is that of the settings. `given` is what the release before left to this process, and `refused` what
        prevented it from doing as it was asked.
        """
        resource_limits.raise_limits(settings.limits.connections)
        self._config = config
        self._settings = settings
        self._text = text
        self._sockets = sockets
        self._notifier = Notifier(os.environ)
        self._given = given
        self._reporting = Reporting(config, given.begun if given is not None else 0)
        self._selector = selectors.DefaultSelector()
        self._lifeline = forking.Lifeline(given.lifeline if given is not None else None)
        # The last snapshot is served immediately, while control compares it with the disk.
        self._fleet = Fleet(self._worker_count(), settings.limits.drain_seconds, is_store_ready=self._has_journal())
        self._watchdog = watchdog_seconds(os.environ, os.getpid())
        self._is_announced = False
        self._is_to_note = False
        """Whether the next control process is to put a reload into the audit log."""
        self._refused = refused
        """Why the last reload or upgrade changed nothing."""
        self._trial: upgrade.Trial | None = None
        """Of the release that is to take over."""
        self._is_tried = False
        """Whether that release can take over, which happens next."""
        self._is_to_try_again = False
        """Whether an upgrade was asked for during the trial: another release may be installed than the one it tries."""
        self._installed = (given.installed if given is not None else ()) or upgrade.NEXT_COMMAND
        self._contexts = self._make_contexts()
        self._connection_counts = ConnectionCounts()
        self._tallies: dict[int, Tally] = {}
        """By the pid of each running child; that of control stays at zero."""
        self._statuses: dict[int, int] = {}
        """The descriptors of the status pipes that are open, by the child's pid."""
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        for each in given.children if given is not None else ():
            self._fleet.adopt(each.child())
            if each.status_fd is not None:
                self._watch_status(each.pid, each.status_fd)

    @contextmanager
    def signals_handled(self) -> Iterator[None]:
        """Turn signals into bytes that `_wait` reads; restore the previous handlers at the end."""
        for end in (self._wakeup_reader, self._wakeup_writer):
            end.setblocking(False)
        self._selector.register(self._wakeup_reader, selectors.EVENT_READ, self._on_signals)
        before = {number: signal.signal(number, lambda *_: None) for number in HANDLED}
        wakeup = signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        # The release before has blocked them while it handed over.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._release()
            self._lifeline.close()

    def run(self) -> None:
        """Run until every process has ended after a stop."""
        if self._given is None:
            log.info("starting %s; TLS: %s", self._describe(), engine_in_force().description)
            self._reporting.begin()
        else:
            log.info("%s takes over from %s", self._reporting.installation, self._given.installation)
            self._is_to_note = self._text != self._given.settings
        self._reporting.applied(self._settings, self._sockets.problems)
        if self._refused:
            self._refuse(self._refused)
        # Children share the memory of everything imported so far, as long as the collector does not touch it.
        gc.collect()
        gc.freeze()
        while True:
            self._act()
            self._announce()
            self._sockets.close_unused(self._fleet.oldest_listening)
            if self._fleet.has_ended:
                break
            self._wait()
            if self._is_tried:
                self._hand_over()
        self._reporting.close()
        log.info("stopped")

    # Doing what the fleet decides.

    def _act(self) -> None:
        for action in self._fleet.decide(time.monotonic()):
            if isinstance(action, Start):
                self._start(action.slot)
            else:
                self._signal(action)

    def _start(self, slot: Slot) -> None:
        settings, base, sockets = self._settings, self._config.parent, self._sockets.listening
        seconds = self._sockets.seconds
        applied = str(self._config) if slot.role is Role.CONTROL and self._is_to_note else ""
        contexts = self._contexts
        if slot.role is Role.WORKER:
            contexts.warm(settings.tls.shared_sites)
        tally = self._connection_counts.allocate()

        def main(parent: forking.ParentLink) -> int:
            logs.configure(str(slot))
            if slot.role is Role.CONTROL:
                self._sockets.close()
                return control_process.run(parent, settings, base, applied)
            self._sockets.close_spares()
            return worker.run(parent, Inherited(settings, base, sockets, contexts, tally, seconds))

        try:
            child = forking.fork(f"edge-{slot.role}", main, self._lifeline, self._release)
        except OSError as error:
            log.error("can't start %s: %s", slot, error)
            self._fleet.failed_to_start(slot, time.monotonic())
            self._connection_counts.free(tally)
            return
        self._tallies[child.pid] = tally
        if applied:
            self._is_to_note = False
        self._fleet.started(slot, child.pid, time.monotonic())
        self._watch_status(child.pid, child.status_fd)

    def _signal(self, action: Stop) -> None:
        if action.order is Order.KILL:
            log.warning("%s (pid %d) does not stop and is killed", self._fleet.children[action.pid].slot, action.pid)
        try:
            os.kill(action.pid, SIGNALS[action.order])
        except ProcessLookupError:
            return  # it has just ended; SIGCHLD follows

    def _release(self) -> None:
        """Close what only the supervisor uses; also called in every child."""
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._wakeup_reader:
                os.close(key.fd)
        self._selector.close()
        self._wakeup_reader.close()
        self._wakeup_writer.close()
        self._notifier.close()

    # Waiting for what happens.

    def _wait(self) -> None:
        due = self._fleet.next_deadline()
        if self._trial is not None:
            due = min(self._trial.deadline, due or self._trial.deadline)
        timeouts = [] if due is None else [max(0.0, due - time.monotonic())]
        if self._watchdog is not None:
            timeouts.append(self._watchdog)
        for key, _ in self._selector.select(min(timeouts, default=None)):
            key.data()
        if self._watchdog is not None:
            self._notifier.notify("WATCHDOG=1")
        if self._trial is not None and self._trial.deadline <= time.monotonic():
            self._trial.kill()

    def _watch_status(self, pid: int, status_fd: int) -> None:
        def read_status() -> None:
            if os.read(status_fd, 1):
                self._fleet.ready(pid)
                return
            self._selector.unregister(status_fd)
            os.close(status_fd)
            del self._statuses[pid]
            self._fleet.closed_sockets(pid)

        self._statuses[pid] = status_fd
        self._selector.register(status_fd, selectors.EVENT_READ, read_status)

    def _on_signals(self) -> None:
        try:
            numbers = set(self._wakeup_reader.recv(4096))
        except BlockingIOError:
            return
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._stop()
        if signal.SIGHUP in numbers and not self._fleet.is_stopping:
            self._reload()
        if signal.SIGUSR2 in numbers and not self._fleet.is_stopping:
            self._upgrade()
        if signal.SIGUSR1 in numbers:
            self._reopen_logs()
        # Always: one byte may stand for several children, or may have been lost in a full buffer.
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._trial is not None and pid == self._trial.pid:
                self._on_trial_ended(status)
                continue
            if (tally := self._tallies.pop(pid, None)) is not None:
                self._connection_counts.free(tally)
            child = self._fleet.exited(pid, time.monotonic())
            if child is not None:
                self._log_exit(child, os.waitstatus_to_exitcode(status))

    def _log_exit(self, child: Child, code: int) -> None:
        if child.last_order is not None or self._fleet.is_stopping:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        seconds = self._fleet.restarts_at(child.slot) - time.monotonic()
        when = f"in {seconds:.0f} s" if seconds > 0.5 else "immediately"
        log.warning("%s (pid %d) %s and is restarted %s", child.slot, child.pid, how, when)
        if child.slot.role is Role.CONTROL and self._has_journal():
            # Workers can serve the last snapshot; control has logged why it could not start.
            self._fleet.is_store_ready = True

    # Reloading and stopping.

    def _reload(self) -> None:
        log.info("reloading %s", self._config)
        self._notifier.reloading()
        self._is_announced = False
        self._reporting.begin()
        try:
            applicable = upgrade.applicable(self._config, self._sockets, self._settings, self._fleet.generation)
        except (BadSettings, CannotListen) as error:
            log.error("keeping the previous settings: %s", error)
            self._refuse(str(error))
            return
        self._refused = ""
        before, (self._settings, self._text) = self._settings, applicable
        settings = self._settings
        self._is_to_note = before != settings
        if (before.tls, before.http, before.store) != (settings.tls, settings.http, settings.store):
            self._contexts = self._make_contexts()  # otherwise TLS sessions survive the reload
        self._reporting.applied(settings, self._sockets.problems)
        self._fleet.reload(self._worker_count(), settings.limits.drain_seconds, is_store_ready=self._has_journal())

    def _upgrade(self) -> None:
        """Have the installed release take over, if it can."""
        if self._trial is not None:
            self._is_to_try_again = True
            return
        log.info("upgrading: trying the installed release")
        self._notifier.reloading()
        self._is_announced = False
        self._reporting.begin()
        try:
            self._trial = trial = upgrade.Trial(self._installed, self._facts())
        except OSError as error:
            self._refuse_upgrade(f"{error.filename or self._installed[0]} can't be started: {error.strerror}")
            return

        def read_output() -> None:
            if not trial.read_output():
                self._selector.unregister(trial.output_fd)

        self._selector.register(trial.output_fd, selectors.EVENT_READ, read_output)

    def _on_trial_ended(self, status: int) -> None:
        trial, self._trial = self._trial, None
        if trial is None:
            return
        if trial.output_fd in self._selector.get_map():
            self._selector.unregister(trial.output_fd)
        fault = trial.ended(status)
        if self._fleet.is_stopping:
            return
        if self._is_to_try_again:
            self._is_to_try_again = False
            self._upgrade()
        elif fault:
            self._refuse_upgrade(fault)
        else:
            self._is_tried = True

    def _hand_over(self) -> None:
        """Become the installed release; returns only if that could not be."""
        self._is_tried = False
        # The next release handles what comes meanwhile: without a handler, a signal would end it.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            # What came just before would be lost with the pipe: a stop, or the end of a child.
            self._on_signals()
            if self._fleet.is_stopping or self._trial is not None:
                return
            handover.execute(self._installed, self._facts())
        except OSError as error:
            self._refuse_upgrade(f"{self._installed[0]} can't be executed: {error.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _refuse_upgrade(self, why: str) -> None:
        log.error("continuing with %s: %s", self._reporting.installation, why)
        self._refuse(f"the installed release can't take over: {why}")

    def _refuse(self, why: str) -> None:
        self._refused = why
        self._reporting.ended(Verdict.REFUSED, why)

    def _facts(self) -> Handover:
        children = [HeldChild.of(each, self._statuses.get(each.pid)) for each in self._fleet.children.values()]
        return Handover(
            os.getpid(), self._reporting.installation, upgrade.THIS_COMMAND, self._text, self._reporting.begun,
            self._sockets.held(), (self._lifeline.read_fd, self._lifeline.write_fd), tuple(children),
            installed=self._installed,
        )  # fmt: skip

    def _stop(self) -> None:
        if self._trial is not None:
            self._trial.kill()
        self._fleet.stop()
        log.info("stopping: open connections have %g s to finish", self._settings.limits.drain_seconds)
        self._notifier.notify("STOPPING=1", "STATUS=draining")
        # From now on the system refuses new clients, instead of letting them wait for nobody.
        self._sockets.close()

    def _reopen_logs(self) -> None:
        for child in self._fleet.children.values():
            if child.slot.role is Role.WORKER:
                os.kill(child.pid, signal.SIGUSR1)

    # Reporting the state.

    def _announce(self) -> None:
        is_trying = self._trial is not None or self._is_tried
        if self._is_announced or is_trying or self._fleet.is_stopping or not self._fleet.is_settled:
            return
        self._is_announced = True
        missing = (
            "" if self._fleet.is_complete else ", without control: no certificate is installed, ordered or renewed"
        )
        log.info("serving %s%s", self._describe(), missing)
        refused = "; the last reload was refused" if self._refused else ""
        self._notifier.notify("READY=1", f"STATUS=serving {self._describe()}{missing}{refused}")
        if not self._refused:
            verdict = Verdict.INCOMPLETE if missing else Verdict.SERVING
            self._reporting.ended(verdict, f"serving {self._describe()}{missing}")

    def _describe(self) -> str:
        listeners = ", ".join(f"{each.kind} on {each.listen}" for each in self._settings.listeners) or "no listener"
        count = self._worker_count()
        return f"{listeners} with {count} worker{'' if count == 1 else 's'}"

    def _make_contexts(self) -> ServedContexts:
        """One cache for all workers that are forked with these settings."""
        return served_contexts(Layout(self._config.parent / self._settings.store), self._settings)

    def _worker_count(self) -> int:
        if not self._settings.listeners:
            return 0
        return len(os.sched_getaffinity(0)) if self._settings.workers == "auto" else self._settings.workers

    def _has_journal(self) -> bool:
        return Layout(self._config.parent / self._settings.store).snapshot_journal.exists()
