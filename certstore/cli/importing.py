"""`certedge import`: imports the sites, certificates and CA account of certbot, acme.sh or BlueMind, unchanged.

They are read here, as the user who runs the command; a plan says what will happen to each site; and what you confirm is
sent site by site to the process that writes the store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certstore.cli.asking import ask_live, confirm, show_whether_served
from certstore.cli.completion import OF_SITES
from certstore.cli.context import AsJson, Config, Edge, open_edge, option, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import import_leftovers, import_plan, import_sources, loading, reader, requests, results
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table
from certstore.model.json_facts import encode
from certstore.model.record import Outcome
from certstore.model.text import written_text

if TYPE_CHECKING:
    from certstore.model.snapshot import SiteEntry
    from certstore.model.version import Version

_ATTEMPTED = "import certificates"
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome for one site. `version` 0: no import was attempted."""

    site: str
    outcome: Outcome
    message: str
    version: int | None = 0

    @property
    def is_fault(self) -> bool:
        return self.outcome in (Outcome.REFUSED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class _Plan:
    """`accounts` are those that are imported; `account_lines` say what happens to each that was found."""

    sites: tuple[import_plan.PlannedSite, ...]
    accounts: tuple[import_sources.FoundAccount, ...]
    account_lines: tuple[str, ...]
    leftovers: tuple[import_leftovers.Leftover, ...]
    notes: tuple[str, ...]
    states: Mapping[str, tuple[str, bytes]] = field(repr=False)
    """By site, what the plan rests on (`_state`): a site that has changed since is left alone."""

    @property
    def changes(self) -> bool:
        return bool(self.accounts) or any(each.changes for each in self.sites)

    def to_json(self) -> dict[str, Any]:
        return {
            "sites": [_planned(each) for each in self.sites],
            "accounts": list(self.account_lines),
            "not_taken_over": [
                {"site": each.site or None, "what": each.what, "to_do": each.remedy} for each in self.leftovers
            ],
            "notes": list(self.notes),
        }


def import_(
    certbot: Annotated[Path | None, option("--certbot", "DIR", "certbot's folder, usually /etc/letsencrypt.")] = None,
    acme_sh: Annotated[Path | None, option("--acme-sh", "DIR", "acme.sh's folder, usually ~/.acme.sh.")] = None,
    bluemind: Annotated[
        Path | None, option("--bluemind", "DIR", "The folder of bm_cert.pem, usually /etc/ssl/certs.")
    ] = None,
    overwrite: Annotated[
        list[str] | None,
        repeated_option("--overwrite", "SITE", "Overwrite this site, which exists, main included", **OF_SITES),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import sites, certificates and the CA account of another program. Its own files do not change.

    Sites that exist stay as they are unless you name them with --overwrite. No certificate is replaced by an older one.
    """
    given = {"certbot": certbot, "acme.sh": acme_sh, "bluemind": bluemind}
    chosen = [(program, folder) for program, folder in given.items() if folder is not None]
    if len(chosen) != 1:
        allowed = "give one of --certbot DIR, --acme-sh DIR, --bluemind DIR"
        raise CommandFailed(_ATTEMPTED, "no source was given", allowed, Exit.USAGE)
    program, folder = chosen[0]
    edge = open_edge(config)
    try:
        found = import_sources.with_challenges(import_sources.READERS[program](folder), edge.settings.acme.dns)
    except OSError as error:
        raise CommandFailed(
            _ATTEMPTED, f"{error.filename}: {error.strerror}", "name the right folder, and run the command as root"
        ) from None
    plan = _make_plan(edge, program, folder, found, overwrite or ())
    if not as_json:
        _show(plan)
    if dry_run:
        if as_json:
            print_json(plan.to_json())
        return
    if plan.changes:
        confirm("Do this?", _ATTEMPTED, yes=yes)
    _report(edge, plan, _carry_out(edge, program, plan), as_json=as_json)


def _make_plan(edge: Edge, program: str, folder: Path, found: import_sources.Found, overwrite: Sequence[str]) -> _Plan:
    sites = _planned_sites(edge, found.sites, overwrite)
    states = {each.site: _state(edge, each.site) for each in sites}
    if unknown := sorted(set(overwrite) - {each.site for each in sites}):
        remedy = "the plan shows the keys: certedge import … --dry-run"
        raise CommandFailed(
            _ATTEMPTED, f"--overwrite {unknown[0]}: nothing was found for this site", remedy, Exit.USAGE
        )
    keys = {each.found.path: each.site for each in sites if each.changes}
    left = import_leftovers.leftovers(program, folder, found, keys, edge.settings.acme.key_type) if keys else ()
    accounts, lines = [], []
    for account in found.accounts:
        is_new, line = _account(edge, account)
        accounts += [account] if is_new else []
        lines.append(line)
    return _Plan(sites, tuple(accounts), tuple(lines), left, found.notes, states)


def _planned_sites(
    edge: Edge, found: Iterable[import_sources.FoundSite], overwrite: Sequence[str]
) -> tuple[import_plan.PlannedSite, ...]:
    """Decided on the store as it is now. Raises CommandFailed if this user can't read it."""
    with suppress(FileNotFoundError):
        os.scandir(edge.layout.archive).close()  # PermissionError for other users, to whom every site would seem new
    snapshot = edge.snapshot()
    entries = snapshot.sites.values() if snapshot is not None else ()
    found = tuple(found)
    known = _known_sites(edge, found, entries)
    owners = {name: each.site for each in entries for name in each.names}
    return import_plan.plan_sites(found, known, owners, overwrite)


def _known_sites(
    edge: Edge, found: Iterable[import_sources.FoundSite], entries: Iterable[SiteEntry]
) -> Mapping[str, import_plan.KnownSite]:
    """Of the found sites, those in the snapshot, and those whose folders no service has read yet."""
    layout, store = edge.layout, reader.Store(edge.layout)
    hosts, keys = {each.host for each in found}, {each.site for each in found}
    known = {
        entry.site: import_plan.KnownSite(
            entry.site,
            entry.host,
            entry.names,
            entry.source,
            store.live_version(entry.site),
            has_settings=os.path.lexists(layout.site_yaml(entry.site)),
        )
        for entry in entries
        if entry.host in hosts or entry.site in keys
    }
    for key in keys - known.keys():
        places = (layout.site_yaml(key), layout.drop_file(key), *([] if key == _MAIN else [layout.drop_folder(key)]))
        if any(map(os.path.lexists, places)):
            known[key] = _unread_site(edge, key, store.live_version(key))
    return known


def _unread_site(edge: Edge, key: str, live: Version | None) -> import_plan.KnownSite:
    path = edge.layout.site_yaml(key)
    try:
        settings = loading.parse_site(written_text(path.read_bytes()), str(path))
    except (OSError, UnicodeError, loading.SettingsError):
        return import_plan.KnownSite(key, live=live)
    return import_plan.KnownSite(key, settings.host, settings.names, settings.certificate, live)


def _state(edge: Edge, site: str) -> tuple[str, bytes]:
    """What a plan for the site rests on: the certificate that it has, and its site.yaml."""
    live = reader.Store(edge.layout).live_version(site)
    try:
        settings = edge.layout.site_yaml(site).read_bytes()
    except FileNotFoundError:
        settings = b""
    return live.fingerprint if live is not None and live.source != import_plan.PLACEHOLDER else "", settings


def _account(edge: Edge, account: import_sources.FoundAccount) -> tuple[bool, str]:
    """Whether it is imported, and what the plan says about it."""
    from certstore.model.renewal.ca import configured_cas, find_ca

    ca = find_ca(account.directory)
    what = f"account at {ca.key}: {account.url}"
    if edge.layout.account_facts(ca.key).exists():
        return False, f"{what} is not taken over: an account at this CA exists here and is kept"
    used = [each.key for each in configured_cas(edge.settings.acme)]
    if ca.key not in used:
        return True, f"{what} is imported, but not used: edge.yaml orders from {', '.join(used)} (acme.directory)"
    return True, f"{what} is imported"


def _planned(site: import_plan.PlannedSite) -> dict[str, Any]:
    names = [site.host, *site.additional_names]
    facts = {
        "site": site.site,
        "action": site.action.value,
        "what": list(site.what),
        "names": names,
        "certificate": site.found.certificate.value,
        "from": site.found.path,
    }
    return {**facts, "challenges": list(site.found.challenges)} if site.found.challenges else facts


_ACTION_STYLES = {"add": GOOD, "fill": GOOD, "overwrite": WARNING, "keep": QUIET}


def _show(plan: _Plan) -> None:
    if plan.sites:
        rows = [
            (
                each.site,
                Cell(each.action.value, _ACTION_STYLES[each.action.value]),
                "; ".join(each.what),
                " ".join((each.host, *each.additional_names)),
                each.found.path,
            )
            for each in plan.sites
        ]
        print_table(
            ("site", "action", "what", "names", "from"), rows, gives_way=("from", "names"), wraps=("what", "names")
        )
    print_lines(*plan.account_lines)
    print_lines(*(Cell(f"note: {each.message}", WARNING) for each in plan.leftovers))
    print_lines(*(Cell(f"note: {note}", WARNING) for note in plan.notes))
    if not plan.changes:
        print_lines("nothing to import")


def _carry_out(edge: Edge, program: str, plan: _Plan) -> list[Imported]:
    """Accounts first: the certificate of a site that is set to acme may be ordered within seconds."""
    for account in plan.accounts:
        request = requests.AdoptAccountRequest(account.directory, account.url, account.key_pem, account.contact)
        result = ask_live(edge, request, f"import the account at {account.directory}")
        if sys.stdout.isatty():
            print_lines(Cell(result.message, GOOD if result.outcome is results.AdoptOutcome.ADOPTED else QUIET))
    done = []
    for planned in plan.sites:
        if not planned.changes:
            done.append(Imported(planned.site, Outcome.NOTED, "; ".join(planned.what)))
        elif _state(edge, planned.site) != plan.states[planned.site]:
            message = "the site has changed since the plan was made, and stays as it is: run the command again"
            done.append(Imported(planned.site, Outcome.FAILED, message))
        else:
            done.append(_import_site(edge, program, planned))
    return done


def _import_site(edge: Edge, program: str, planned: import_plan.PlannedSite) -> Imported:
    """The certificate before `acme`, so that it is renewed when due instead of ordered again at once."""
    key, names = planned.site, list(planned.additional_names)
    attempted = f"import {planned.host}"
    try:
        if planned.action is import_plan.Action.ADD and key != _MAIN:
            settings = {"host": planned.host, "additional_names": names, "certificate": "file"}
            ask_live(edge, requests.AddSiteRequest(key, settings), attempted)
        else:
            changes = {"host": planned.host, "additional_names": names}
            ask_live(edge, requests.SetSiteRequest(key, changes), attempted)
        result = ask_live(edge, requests.ImportRequest(key, planned.found.files, program), attempted)
        ways = {"challenges": list(planned.found.challenges)} if planned.found.challenges else {}
        source = {"certificate": planned.found.certificate.value, **ways}
        ask_live(edge, requests.SetSiteRequest(key, source), attempted)
    except CommandFailed as failure:
        return Imported(key, Outcome.FAILED, failure.found)
    return Imported(key, result.outcome, result.message, result.version)


def _report(edge: Edge, plan: _Plan, results: list[Imported], *, as_json: bool) -> None:
    if as_json:
        print_json({**plan.to_json(), "sites": encode(results)})
    elif plan.changes and results:
        rows = [(each.site, Cell(each.outcome, BAD if each.is_fault else GOOD), each.message) for each in results]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each.outcome is Outcome.DONE for each in results):
            show_whether_served(edge)
    if any(each.is_fault for each in results):
        raise typer.Exit(Exit.FAILED)
