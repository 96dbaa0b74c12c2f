"""Asking for what takes a while: on a terminal each step is shown with the seconds since the start."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from certstore.cli.asking import failed, service_runs
from certstore.cli.context import Edge
from certstore.cli.failure import CommandFailed, printable
from certstore.cli.output import BAD, WARNING, Cell, print_lines, utc
from certstore.control.protocol import RequestFailed


def ask_live(edge: Edge, command: str, args: Mapping[str, Any], attempted: str) -> dict[str, Any]:
    """Perform a verb through control, or under the lock; raises CommandFailed."""
    from certstore.control.client import call

    # Where no control runs the service's own log would say the same as this command, beside it.
    logging.getLogger("certstore").setLevel(logging.CRITICAL)
    begun = time.monotonic()

    def show(message: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {printable(message)}\n")

    try:
        return call(edge.settings, edge.base, command, args, on_progress=show)
    except RequestFailed as failure:
        raise failed(edge, args, attempted, failure) from None


def show_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """What a preflight found, the graver first, each with what to do."""
    for finding in findings:
        is_fatal = finding["severity"] == "fatal"
        label = "FATAL" if is_fatal else "doubtful"
        print_lines(
            Cell(f"{label}: {finding['message']}", BAD if is_fatal else WARNING), f"  to do: {finding['remedy']}"
        )


def failure_of(edge: Edge, facts: Mapping[str, Any], attempted: str) -> CommandFailed:
    """An attempt that failed, or waits for a limit, as a failure of the command."""
    found = facts["message"]
    remedy = facts.get("remedy") or ""
    if link := facts.get("link"):
        remedy += f"\n{link}"
    if facts.get("next_attempt"):
        remedy += f"\nit is tried again by itself at {utc(datetime.fromisoformat(facts['next_attempt']))}"
        remedy += "" if service_runs(edge) else ", if the service runs then (certedge run)"
    return CommandFailed(attempted, found, remedy.strip())
