"""`certedge reload`: has the running service apply edge.yaml, and waits for what comes of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.context import AsJson, Config, Edge, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import client, requests, service_report, service_state
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines
from certstore.control.protocol import RequestFailed

if TYPE_CHECKING:
    from certstore.model.service_state import ServiceState

TIMEOUT_SECONDS = 55.0
"""Below TimeoutStartSec= of the unit, so that systemd shows this command's words."""
_PAUSE = 0.05
_KEPT = "the service continues with the settings that it has"


def reload(
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the verdict.")] = TIMEOUT_SECONDS,
    upgrade: Annotated[
        bool,
        typer.Option(
            "--upgrade",
            help="Replace the program even if the release is the same, for example after an update of a library.",
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Apply a changed edge.yaml to the running service, and wait until every process serves with it.

    If the installed release is not the one that runs, it takes over without a lost connection. If the service refuses
    the settings or the release, the command fails and the service continues with the previous ones.
    """
    try:
        edge = open_edge(config)
    except CommandFailed as failure:
        failure.remedy = f"{failure.remedy}; {_KEPT}" if failure.remedy else f"correct the file; {_KEPT}"
        raise
    attempted = f"apply the settings {edge.config}"
    before = _running(edge, attempted)
    is_upgrade = upgrade or _is_outdated(before)
    if is_upgrade and not before.installation:
        found = f"the release that runs (pid {before.pid}) can't be replaced while it serves"
        raise CommandFailed(attempted, found, "restart the service: systemctl restart certedge")
    try:
        os.kill(before.pid, signal.SIGUSR2 if is_upgrade else signal.SIGHUP)
    except PermissionError:
        found = f"the service (pid {before.pid}) runs as another user"
        raise CommandFailed(attempted, found, "run the command as root, or as the user that runs the service") from None
    except ProcessLookupError:
        raise _ended(attempted) from None
    after = _await_verdict(edge, before, attempted, timeout, is_upgrade=is_upgrade)
    if after.verdict is service_state.Verdict.SERVING:
        _note(edge)
    _show(after, attempted, as_json=as_json)


def _is_outdated(state: ServiceState) -> bool:
    """Whether another program runs than the one that this command belongs to."""
    return bool(state.installation) and state.installation != service_report.installation()


def _running(edge: Edge, attempted: str) -> ServiceState:
    try:
        state = service_report.read_report(edge.layout)
    except OSError as error:
        found = f"the state of the service can't be read: {error.strerror}"
        raise CommandFailed(attempted, found, "run the command as root, or as the user that runs the service") from None
    if state is None:
        remedy = "start it: certedge run. If you changed `store`, restart the service"
        raise CommandFailed(attempted, f"no service runs on the store {edge.layout.root}", remedy)
    if not _is_same(Path(state.config), edge.config):
        found = f"the service on this store (pid {state.pid}) runs with another file: {state.config}"
        raise CommandFailed(attempted, found, f"name that one: certedge reload --config {state.config}", Exit.USAGE)
    if os.geteuid() == 0 and not service_report.is_of_its_writer(edge.layout, state):
        found = f"{edge.layout.service_report} names a process of another user (pid {state.pid})"
        raise CommandFailed(attempted, found, "find out who wrote it; systemctl reload certedge does without it")
    return state


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other.absolute()


def _await_verdict(
    edge: Edge, before: ServiceState, attempted: str, timeout: float, *, is_upgrade: bool
) -> ServiceState:
    deadline = time.monotonic() + timeout
    while True:
        state = service_report.read_report(edge.layout)
        if state is None or state.pid != before.pid:
            raise _ended(attempted)
        # Pending: a release that has just taken over, and was asked again meanwhile.
        if state.ended > before.begun and state.verdict is not service_state.Verdict.PENDING:
            return state
        if time.monotonic() > deadline:
            found = f"not every process serves with the new settings after {timeout:g} seconds"
            if state.begun == before.begun:
                found = f"the service (pid {state.pid}) has not reported within {timeout:g} seconds that it reads them"
            remedy = "the log of the service says why; it goes on trying"
            if is_upgrade and state.installation == before.installation:
                found = f"the installed release has not taken over after {timeout:g} seconds"
                remedy = "its trial goes on and may take four minutes; certedge status shows the release that runs"
            raise CommandFailed(attempted, found, remedy)
        time.sleep(_PAUSE)


def _note(edge: Edge) -> None:
    """Put into the audit log who asked for it. The settings are applied all the same if that does not work."""
    with contextlib.suppress(RequestFailed, OSError):
        client.call(edge.settings, edge.base, requests.ReloadedRequest())


def _ended(attempted: str) -> CommandFailed:
    return CommandFailed(attempted, "the service has ended meanwhile", "its log says why")


def _show(state: ServiceState, attempted: str, *, as_json: bool) -> None:
    is_serving = state.verdict is service_state.Verdict.SERVING
    if as_json:
        facts = {"verdict": state.verdict.value, "message": state.message, "problems": list(state.problems)}
        print_json({"pid": state.pid, "installation": state.installation, **facts})
    elif is_serving:
        print_lines(Cell(state.message, GOOD), *(Cell(f"problem: {each}", WARNING) for each in state.problems))
    if state.verdict is service_state.Verdict.REFUSED:
        raise CommandFailed(attempted, state.message, f"correct it and reload again; {_KEPT}")
    if not is_serving:
        raise CommandFailed(attempted, state.message, "the log of the service says why control does not start")
    if state.problems:
        raise typer.Exit(Exit.PROBLEMS)
