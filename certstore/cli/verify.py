"""`certedge verify`: makes a TLS handshake with every listener of edge.yaml and compares the answer with `live`.

Which handshakes to make and what to expect is decided in `certstore.verify.plan`, which the console uses too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.asking import service_runs
from certstore.cli.cluster import ask_status
from certstore.cli.completion import OF_SITES
from certstore.cli.context import AsJson, Config, Edge, open_edge, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import plan
from certstore.cli.output import BAD, GOOD, STRONG, WARNING, Cell, print_json, print_lines, print_table
from certstore.cli.status import read_store
from certstore.files.clock import utc_now
from certstore.model.did_you_mean import site_advice

if TYPE_CHECKING:
    from datetime import datetime

    from certstore.model.snapshot import SiteEntry, Snapshot

TIMEOUT_SECONDS = 10.0
_AT_ONCE = 8


def verify(
    site: Annotated[
        list[str] | None, repeated_option("--site", "SITE", "Only check this site (and main)", **OF_SITES)
    ] = None,
    problems_only: Annotated[bool, typer.Option("--problems", help="Only show what is wrong.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for one answer.")] = TIMEOUT_SECONDS,
    nodes: Annotated[bool, typer.Option("--nodes", help="Check the other nodes of the cluster too.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Connect to every listener and compare the whole chain that it serves with the store."""
    edge = open_edge(config)
    attempted = "verify what the listeners serve"
    if not edge.settings.listeners and not nodes:
        raise CommandFailed(
            attempted, f"{edge.config} has no listeners", "add listeners under `listeners:`", Exit.USAGE
        )
    snapshot = read_store(edge, attempted, lambda store: store.snapshot())
    entries = _chosen(snapshot, site, attempted)
    now = utc_now()
    checks = list(plan.plan(edge.settings.listeners, snapshot, entries, edge.settings.trusted_proxies, now))
    begun = time.monotonic()
    verdicts = _run(edge, checks, timeout, now)
    others = _other_nodes(edge, snapshot, entries, timeout, now) if nodes else []
    _report(verdicts, others, time.monotonic() - begun, as_json=as_json, problems_only=problems_only)
    if not as_json and all(verdict.problem for verdict in verdicts) and not _service_may_run(edge):
        print_lines(Cell("note: no service runs on this store (start it with certedge run)", WARNING))
    if any(verdict.problem for verdict in (*verdicts, *(each for node in others for each in node.verdicts))):
        raise typer.Exit(Exit.PROBLEMS)


def _chosen(snapshot: Snapshot, sites: Sequence[str] | None, attempted: str) -> list[SiteEntry]:
    """Main first, then the chosen sites; all if none is chosen."""
    for unknown in (site for site in sites or () if site not in snapshot.sites):
        advice = site_advice(unknown, sorted(snapshot.sites))
        raise CommandFailed(attempted, f"there is no site {unknown!r:.100}", advice)
    keys = sites or sorted(snapshot.sites)
    return [snapshot.main, *(snapshot.sites[key] for key in keys if key != snapshot.main.site)]


def _run(edge: Edge, checks: Sequence[plan.Check], timeout: float, now: datetime) -> list[plan.CheckResult]:
    """A few at a time: the service under test runs on the same machine."""
    from concurrent.futures import ThreadPoolExecutor

    expected = plan.Chains(edge.layout)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = []
        for done, verdict in enumerate(
            pool.map(lambda check: plan.run_check(check, expected, timeout, now), checks), 1
        ):
            verdicts.append(verdict)
            if sys.stderr.isatty() and (done % 50 == 0 or done == len(checks)):
                sys.stderr.write(f"\r{done} of {len(checks)} " + ("\n" if done == len(checks) else ""))
        return verdicts


@dataclass(frozen=True, slots=True)
class _OtherNode:
    """What another node serves, and which of its listeners could not be asked."""

    name: str
    verdicts: list[plan.CheckResult]
    unchecked: tuple[str, ...]


def _other_nodes(
    edge: Edge, snapshot: Snapshot, entries: Sequence[SiteEntry], timeout: float, now: datetime
) -> list[_OtherNode]:
    """Each should serve what this one does."""
    from certstore.model.cluster.records import NodeListener
    from certstore.verify.other_nodes import reachable_listeners

    status, found = ask_status(edge, "verify what the nodes serve"), []
    for node in status.nodes:
        if node.name == status.node:
            continue
        told = [NodeListener(each.kind, each.host, each.port, each.has_proxy_protocol) for each in node.listeners]
        reachable = reachable_listeners(node.addresses, told)
        checks = list(plan.plan(reachable.listeners, snapshot, entries, (), now))
        found.append(_OtherNode(node.name, _run(edge, checks, timeout, now), reachable.unchecked))
    return found


def _service_may_run(edge: Edge) -> bool:
    """True also if this user may not ask."""
    try:
        return service_runs(edge)
    except OSError:
        return True


def _report(
    verdicts: Sequence[plan.CheckResult],
    others: Sequence[_OtherNode],
    seconds: float,
    *,
    as_json: bool,
    problems_only: bool,
) -> None:
    if as_json:
        nodes = [
            {
                "node": node.name,
                "checks": [verdict.to_json() for verdict in _chosen_ones(node.verdicts, problems_only=problems_only)],
                "unchecked": list(node.unchecked),
            }
            for node in others
        ]
        print_json({
            "checks": [verdict.to_json() for verdict in _chosen_ones(verdicts, problems_only=problems_only)],
            "checked": len(verdicts),
            "wrong": sum(bool(verdict.problem) for verdict in verdicts),
            "seconds": round(seconds, 3),
            **({"nodes": nodes} if nodes else {}),
        })  # fmt: skip
        return
    _show_table(verdicts, problems_only=problems_only)
    for node in others:
        print_lines("", Cell(node.name, STRONG))
        _show_table(node.verdicts, problems_only=problems_only)
        print_lines(*(Cell(f"not checked: {each}", WARNING) for each in node.unchecked))
        if not node.verdicts and not node.unchecked:
            print_lines("no listeners that others can reach")
    everything = [*verdicts, *(each for node in others for each in node.verdicts)]
    bad = sum(bool(each.problem) for each in everything)
    checked = f"{len(everything)} checked in {seconds:.1f} s"
    unchecked = sum(len(node.unchecked) for node in others)
    rest = f"; {unchecked} not checked" if unchecked else ""
    outcome = f"{bad} wrong" if bad else "all as in the store"
    print_lines(Cell(f"{checked}, {outcome}{rest}", BAD if bad else WARNING if unchecked else GOOD))


def _chosen_ones(verdicts: Sequence[plan.CheckResult], *, problems_only: bool) -> list[plan.CheckResult]:
    return [verdict for verdict in verdicts if verdict.problem or not problems_only]


def _show_table(verdicts: Sequence[plan.CheckResult], *, problems_only: bool) -> None:
    rows = []
    for verdict in _chosen_ones(verdicts, problems_only=problems_only):
        check = verdict.check
        kind = f"{check.listener.kind}{' (RSA)' if check.probe.rsa_only else ''}"
        want = f"{check.expected.site} {check.expected.version}" if check.expected else "an answer"
        result = Cell(f"WRONG: {verdict.problem}", BAD) if verdict.problem else Cell("ok", GOOD)
        rows.append((kind, str(check.probe.at.address), check.probe.server_name or "(none)", want, result))
    headers = ("listener", "address", "server name", "expected", "result")
    if rows:
        print_table(headers, rows, gives_way=("expected", "address"), wraps=("result",))
