"""Asking for a change, and saying what came of it: shared by every command that changes something."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from certstore.cli.context import Edge
from certstore.cli.failure import CommandFailed, printable
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines, short
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.did_you_mean import site_advice

ONCE_IT_RUNS = "once the service runs (certedge run)"


def ask(edge: Edge, command: str, args: Mapping[str, Any], attempted: str) -> dict[str, Any]:
    """Perform a verb through control, or under the lock; raises CommandFailed."""
    from certstore.control.client import call

    # Where no control runs the store's own log would say the same as this command, beside it.
    logging.getLogger("certstore").setLevel(logging.ERROR)
    try:
        return call(edge.settings, edge.base, command, args, on_progress=_show_progress)
    except RequestFailed as failure:
        raise failed(edge, args, attempted, failure) from None


def failed(edge: Edge, args: Mapping[str, Any], attempted: str, failure: RequestFailed) -> CommandFailed:
    """The failure of a verb; an unknown site is told here with those there are.

    The verbs don't name them: the console performs the same ones for people who are not to know of each other's sites.
    """
    told = CommandFailed.from_request(attempted, failure)
    if failure.fault is Fault.NOT_FOUND and "site" in args:
        known = known_sites(edge)
        if known and args["site"] not in known:
            told.remedy = f"{site_advice(args['site'], known)}; a new one: certedge site add"
    return told


def known_sites(edge: Edge) -> Sequence[str]:
    """Their keys; none where the store is new, or can't be read by this user."""
    from certstore.store.journal import JournalUnreadable
    from certstore.store.reader import Store

    try:
        return Store(edge.layout).sites()
    except JournalUnreadable:
        return ()


def _show_progress(message: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"{printable(message)}\n")


def show_change(edge: Edge, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """What changed, what remains to be looked at, and what clients get: now, or once the service runs."""
    is_running = service_runs(edge)
    if as_json:
        print_json({**facts, "service_runs": is_running})
        return
    message, notes = facts["message"], [problem["message"] for problem in facts.get("problems", ())]
    for note in notes:  # the message of a new certificate repeats them
        message = message.replace(f"; {note}", "")
    print_lines(Cell(message, GOOD), *(Cell(f"note: {note}", WARNING) for note in notes))
    if (served := facts.get("served")) is not None:
        print_lines(_served_line(served, is_running=is_running))


def service_runs(edge: Edge) -> bool:
    """Whether what was changed is served already. Asked after the change, by somebody who was let make it."""
    from certstore.control.client import control_pid

    return control_pid(edge.layout) is not None


def show_whether_served(edge: Edge) -> None:
    """For commands whose certificates are live in the store, and whose words would else promise more."""
    if not service_runs(edge):
        print_lines(Cell(f"note: it is served {ONCE_IT_RUNS}", WARNING))


def _served_line(served: Mapping[str, Any], *, is_running: bool) -> str:
    from certstore.model.selection import EXPLANATIONS, Reason

    why = EXPLANATIONS[Reason(served["reason"])]
    what = f"{served['certificate']} version {served['version']} ({short(served['fingerprint'])}…)"
    name = served["server_name"]
    when = f"now served for {name}" if is_running else f"served for {name} {ONCE_IT_RUNS}"
    return f"{when}: {what}: {why}"
