"""`certedge status`: the status of every site, from what is on disk; and how such facts are read and shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from certstore.cli.context import AsJson, Config, Edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.ignored import ignored_entries, ignored_facts, ignored_lines
from certstore.cli.lazy import client, cluster_standing, journal, reader
from certstore.cli.lazy import status as site_status
from certstore.cli.output import (
    BAD,
    GOOD,
    QUIET,
    WARNING,
    Cell,
    print_facts,
    print_json,
    print_lines,
    print_table,
    remaining,
    utc,
)
from certstore.cli.service import open_running_edge, service_of
from certstore.cli.watching import watch
from certstore.files.clock import utc_now
from certstore.model.certificate.findings import Finding
from certstore.model.did_you_mean import site_advice
from certstore.model.record import Outcome
from certstore.store.errors import UnknownSite

_STATE_STYLES = {"ok": GOOD, "warning": WARNING, "expired": BAD, "not_yet_valid": BAD, "none": QUIET}


def status(
    problems_only: Annotated[bool, typer.Option("--problems", help="Only show sites with problems.")] = False,
    watches: Annotated[bool, typer.Option("--watch", help="Show it again when it changes, until Ctrl-C.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show certificate, expiry, problems and last attempt of every site. The exit code is 3 if there are problems."""
    if watches:
        watch(lambda: _show(config, problems_only=problems_only, as_json=as_json))
    elif _show(config, problems_only=problems_only, as_json=as_json):
        raise typer.Exit(Exit.PROBLEMS)


def _show(config: Path | None, *, problems_only: bool, as_json: bool) -> bool:
    """Whether there are problems."""
    edge, fault = open_running_edge(config)
    sites = read_all(edge, "read the status")
    service = service_of(edge, fault)
    shown = [facts for facts in sites if facts.problems] if problems_only else sites
    ignored = ignored_entries(edge.layout, {name for facts in sites for name in (facts.site, facts.host)})
    control, control_line = _control(edge)
    cluster, cluster_lines = _cluster(edge)
    if as_json:
        sites_facts = [each.to_json() for each in shown]
        facts = {
            "control": control,
            "service": service.to_json(),
            "sites": sites_facts,
            "ignored": ignored_facts(ignored),
        }
        print_json({"cluster": cluster, **facts} if edge.settings.cluster is not None else facts)
    else:
        print_lines(*cluster_lines, control_line, *service.lines())
        _show_table(shown)
        print_lines(*ignored_lines(ignored), _summary(sites))
    is_troubled = service.is_troubled or bool(cluster is not None and cluster["problems"])
    return is_troubled or any(facts.problems for facts in sites)


def read_all(edge: Edge, attempted: str) -> list[site_status.SiteFacts]:
    """Every site, main first; raises CommandFailed while there is no snapshot."""

    def ask(store: reader.Store) -> list[site_status.SiteFacts]:
        return [_with_failed_order(store, facts) for facts in site_status.status(store, utc_now())]

    return read_store(edge, attempted, ask)


def read_one(edge: Edge, site: str, attempted: str) -> site_status.SiteFacts:
    """Raises CommandFailed when there is no such site."""

    def ask(store: reader.Store) -> site_status.SiteFacts:
        try:
            return _with_failed_order(store, site_status.site_facts(store, site, utc_now()))
        except UnknownSite as error:
            raise CommandFailed(attempted, str(error), site_advice(site, store.sites())) from None

    return read_store(edge, attempted, ask)


def read_store[T](edge: Edge, attempted: str, ask: Callable[[reader.Store], T]) -> T:
    """What `ask` finds in the store; raises CommandFailed if there is no snapshot, or not for this user."""
    try:
        return ask(reader.Store(edge.layout))
    except journal.JournalUnreadable as error:
        raise _unreadable(edge, attempted, error) from None


def _with_failed_order(store: reader.Store, facts: site_status.SiteFacts) -> site_status.SiteFacts:
    """With a problem for an order that failed, unless one has succeeded since."""
    if facts.source != "acme":
        return facts
    for record in reversed(store.records(facts.site)):
        if record.outcome is Outcome.DONE and record.doing not in ("settings", "revoke"):
            break
        if record.outcome is Outcome.FAILED and record.doing in ("order", "renew"):
            from certstore.model.renewal.failure import what_only_you_can_do

            when = f"next attempt {utc(record.next_attempt)}" if record.next_attempt else "next attempt at once"
            todo = f"; to do: {remedy}" if (remedy := what_only_you_can_do(record.reason)) else ""
            failed = Finding("order_failed", f"the order failed ({record.reason}; {when}): {record.message}{todo}")
            return dataclasses.replace(facts, problems=(*facts.problems, failed))
    return facts


def _unreadable(edge: Edge, attempted: str, error: Exception) -> CommandFailed:
    found, remedy = str(error), "start the service: certedge run"
    match error.__cause__:
        case PermissionError():
            remedy = "run the command as root, or as the user that runs the service"
        case FileNotFoundError() if edge.layout.root.is_dir():
            found = f"the store {edge.layout.root} is new: the service has not read it yet"
        case FileNotFoundError():
            found = f"there is no store {edge.layout.root}"
            remedy = "create one (certedge init --host YOUR.HOST.NAME), or correct `store` in edge.yaml"
    return CommandFailed(attempted, found, remedy)


def expiry_cell(facts: site_status.SiteFacts) -> Cell:
    if facts.certificate is None:
        return Cell("")
    not_after = facts.certificate.not_after
    left = remaining(not_after, utc_now())
    style = _STATE_STYLES[facts.state.value] if facts.state.is_fault else ""
    return Cell(f"{not_after:%Y-%m-%d} ({left})", style, short=f"{not_after:%Y-%m-%d}")


def state_cell(facts: site_status.SiteFacts) -> Cell:
    return Cell(facts.state.value, _STATE_STYLES[facts.state.value])


def show_site(facts: site_status.SiteFacts) -> None:
    certificate, last = facts.certificate, facts.last_attempt
    pairs: list[tuple[str, str | Cell]] = [
        ("site", facts.site),
        ("host", facts.host),
        ("names", " ".join(facts.names)),
        ("certificate from", facts.source or ""),
        ("state", state_cell(facts)),
    ]
    if certificate is not None:
        pairs += [
            ("version", str(certificate.version)),
            ("fingerprint", certificate.fingerprint),
            ("names in it", " ".join(certificate.dns_names)),
            ("valid until", expiry_cell(facts)),
        ]
    if last is not None:
        pairs.append(("last attempt", f"{utc(last.at)}: {last.doing} {last.outcome.value}: {last.message}"))
    print_facts(pairs)
    print_lines(*(Cell(f"problem: {problem.message}", WARNING) for problem in facts.problems))


def _show_table(shown: list[site_status.SiteFacts]) -> None:
    rows = []
    for facts in shown:
        version = str(facts.certificate.version) if facts.certificate else ""
        problems = Cell(", ".join(problem.code for problem in facts.problems), WARNING)
        source = facts.source or ""
        rows.append((facts.site, facts.host, source, version, expiry_cell(facts), state_cell(facts), problems))
    if rows:
        print_table(
            ("site", "host", "from", "version", "valid until", "state", "problems"),
            rows,
            gives_way=("version", "valid until", "host", "from", "state"),
            wraps=("problems",),
        )
    for facts in shown:
        print_lines(*(Cell(f"{facts.site}: {problem.message}", WARNING) for problem in facts.problems))


def _summary(sites: list[site_status.SiteFacts]) -> Cell:
    troubled = sum(1 for facts in sites if facts.problems)
    number = "1 site" if len(sites) == 1 else f"{len(sites)} sites"
    return Cell(f"{number}, {troubled} with problems", WARNING) if troubled else Cell(f"{number}, no problems", GOOD)


def _cluster(edge: Edge) -> tuple[dict[str, Any] | None, list[Cell]]:
    """How this node stands in its cluster; None while no control process says so."""
    if edge.settings.cluster is None:
        return None, []
    found = cluster_standing.read_standing(edge.layout, utc_now())
    if found is None:
        return None, [Cell("cluster: nobody says how this node stands, as control does not run", WARNING)]
    style = WARNING if found.has_problems or not found.is_attached else ""
    lines = [
        Cell(f"cluster: {found.line}", style),
        *(Cell(f"cluster: {message}", WARNING) for _, message in found.problems),
    ]
    return {**found.to_json(), "line": found.line, "problems": [list(each) for each in found.problems]}, lines


def _control(edge: Edge) -> tuple[dict[str, Any], Cell]:
    """Whether a control process runs, which imports drops and renews certificates; `running` is None if this user may
    not ask."""
    try:
        pid = client.control_pid(edge.layout)
    except OSError as error:
        return {"running": None, "pid": None}, Cell(f"control: unknown ({error.strerror})", WARNING)
    line = Cell(f"control: running (pid {pid})")
    if pid is None:
        consequence = "so drops wait and nothing is renewed (start it with certedge run)"
        line = Cell(f"control: not running, {consequence}", WARNING)
    return {"running": pid is not None, "pid": pid}, line
