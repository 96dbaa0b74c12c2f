"""Has a command performed and shows what came of it: shared by every command that changes something."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import typer

from certstore.cli import others
from certstore.cli.context import Edge
from certstore.cli.failure import CommandFailed, Exit, printable
from certstore.cli.lazy import client, journal, preflight_facts, reader, requests, results, selection
from certstore.cli.output import BAD, GOOD, WARNING, Cell, print_json, print_lines, short, utc
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.did_you_mean import site_advice

ONCE_IT_RUNS = "once the service runs (certedge run)"


def ask[R: results.CommandResult](
    edge: Edge, request: requests.CommandRequest[R], attempted: str, *, log: int = logging.ERROR
) -> R:
    """Perform a command through control, or under the lock; raises CommandFailed.

    On a terminal each step of a long one is shown, with the seconds since the start.
    """
    # Where no control runs, the store's log would repeat what this command prints.
    logging.getLogger("certstore").setLevel(log)
    begun = time.monotonic()

    def show(message: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {printable(message)}\n")

    try:
        return client.call(edge.settings, edge.base, request, on_progress=show)
    except RequestFailed as failure:
        raise _failed(edge, request, attempted, failure) from None


def ask_live[R: results.CommandResult](edge: Edge, request: requests.CommandRequest[R], attempted: str) -> R:
    """`ask` for commands that wait for networks: what fails there is in their result, and need not be logged too."""
    return ask(edge, request, attempted, log=logging.CRITICAL)


def _failed(edge: Edge, request: requests.CommandRequest[Any], attempted: str, failure: RequestFailed) -> CommandFailed:
    """For an unknown site, the nearest known one is suggested here.

    Control does not suggest it: the console performs the same commands, for users who must not learn of other sites.
    """
    failed = CommandFailed.from_request(attempted, failure)
    if failure.fault is Fault.NOT_FOUND and isinstance(request, requests.SiteRequest):
        known = known_sites(edge)
        if known and request.site not in known:
            failed.remedy = f"{site_advice(request.site, known)}; a new one: certedge site add"
    return failed


def confirm(question: str, attempted: str, *, yes: bool) -> None:
    """Ask on the terminal before something that is hard to undo; `yes` answers. Raises CommandFailed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(attempted, "there is no terminal to ask for confirmation", "confirm with --yes", Exit.USAGE)
    if not typer.confirm(question, err=True):
        raise CommandFailed(attempted, "you declined; nothing has changed")


def known_sites(edge: Edge) -> Sequence[str]:
    """Their keys; empty if the store is new, or this user can't read it."""
    try:
        return reader.Store(edge.layout).sites()
    except journal.JournalUnreadable:
        return ()


def show_change(
    edge: Edge, result: results.InstallResult | results.SiteResult | results.RemoveResult, *, as_json: bool
) -> None:
    """Show what changed, its remaining problems, and what clients get: now, or once the service runs."""
    is_running = service_runs(edge)
    standing = others.wait_for_others(edge)
    if as_json:
        spread = {"cluster": others.have_it_facts(standing)} if standing is not None else {}
        print_json({**result.to_json(), "service_runs": is_running, **spread})
        return
    message = result.message
    notes = [problem.message for problem in getattr(result, "problems", ())]
    for note in notes:  # the message of a new certificate contains them
        message = message.replace(f"; {note}", "")
    print_lines(Cell(message, GOOD), *(Cell(f"note: {note}", WARNING) for note in notes))
    if result.served is not None:
        print_lines(_served_line(result.served, is_running=is_running))
    if standing is not None:
        print_lines(others.have_it(standing))


def service_runs(edge: Edge) -> bool:
    """Whether changes are served already. To be called after a change, by a user who was allowed to make it."""
    return client.control_pid(edge.layout) is not None


def show_whether_served(edge: Edge) -> None:
    """For commands whose certificates are live in the store, but served only while the service runs, and on the other
    nodes of a cluster a moment later.
    """
    if not service_runs(edge):
        print_lines(Cell(f"note: the certificate is served {ONCE_IT_RUNS}", WARNING))
    elif (standing := others.wait_for_others(edge)) is not None:
        print_lines(others.have_it(standing))


def _served_line(served: results.Served, *, is_running: bool) -> str:
    name = served.server_name
    when = f"now served for {name}" if is_running else f"served for {name} {ONCE_IT_RUNS}"
    what = f"{served.certificate} version {served.version} ({short(served.fingerprint)}…)"
    return f"{when}: {what}: {selection.EXPLANATIONS[served.reason]}"


def show_findings(findings: Sequence[results.PreflightNote]) -> None:
    """The findings of a preflight check, the more severe first, each with what to do."""
    for finding in findings:
        is_fatal = finding.severity is preflight_facts.Severity.FATAL
        label = "FATAL" if is_fatal else "doubtful"
        print_lines(Cell(f"{label}: {finding.message}", BAD if is_fatal else WARNING), f"  to do: {finding.remedy}")


def order_failure(edge: Edge, result: results.OrderResult, attempted: str) -> CommandFailed:
    """An order that failed, or was held back by a limit, as a failure of the command."""
    remedy = result.remedy
    if result.link:
        remedy += f"\n{result.link}"
    if result.next_attempt is not None:
        remedy += f"\nthe next automatic attempt is at {utc(result.next_attempt)}"
        remedy += "" if service_runs(edge) else ", if the service runs then (certedge run)"
    return CommandFailed(attempted, result.message, remedy.strip())
