"""`certedge import`: imports the sites, certificates and CA account of certbot, acme.sh or BlueMind, unchanged.

They are read here, as the user who runs the command, shown, and sent site by site to the process that writes the store.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from certstore.cli.asking import ask_live, show_whether_served
from certstore.cli.context import AsJson, Config, Edge, open_edge, option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import import_sources, requests, results
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table
from certstore.model.json_facts import encode
from certstore.model.record import Outcome

_ATTEMPTED = "import certificates"


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


def import_(
    certbot: Annotated[Path | None, option("--certbot", "DIR", "certbot's folder, usually /etc/letsencrypt.")] = None,
    acme_sh: Annotated[Path | None, option("--acme-sh", "DIR", "acme.sh's folder, usually ~/.acme.sh.")] = None,
    bluemind: Annotated[
        Path | None, option("--bluemind", "DIR", "The folder of bm_cert.pem, usually /etc/ssl/certs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be imported.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Import sites, certificates and the CA account of another program. Its own files do not change."""
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
    if not as_json:
        _show(found)
    if dry_run:
        if as_json:
            print_json({"sites": [_planned(each) for each in found.sites], "notes": list(found.notes)})
        return
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm("Import these?", abort=True)
    _report(edge, found, _import_all(edge, program, found), as_json=as_json)


def _planned(site: import_sources.FoundSite) -> dict[str, Any]:
    names = [site.host, *site.additional_names]
    return {"site": site.site, "names": names, "certificate": site.certificate.value, "from": site.path} | (
        {"challenges": list(site.challenges)} if site.challenges else {}
    )


def _show(found: import_sources.Found) -> None:
    if found.sites:
        rows = [
            (each.site, each.certificate.value, " ".join((each.host, *each.additional_names)), each.path)
            for each in found.sites
        ]
        print_table(("site", "certificate", "names", "from"), rows, gives_way=("from",), wraps=("names",))
    for account in found.accounts:
        print_lines(f"account at {account.directory}: {account.url}")
    print_lines(*(Cell(f"note: {note}", WARNING) for note in found.notes))
    if not found.sites and not found.accounts:
        print_lines("nothing to import")


def _import_all(edge: Edge, program: str, found: import_sources.Found) -> list[Imported]:
    """Accounts first: the certificate of a site that is set to acme may be ordered within seconds."""
    for account in found.accounts:
        request = requests.AdoptAccountRequest(account.directory, account.url, account.key_pem, account.contact)
        result = ask_live(edge, request, f"import the account at {account.directory}")
        if sys.stdout.isatty():
            print_lines(Cell(result.message, GOOD if result.outcome is results.AdoptOutcome.ADOPTED else QUIET))
    snapshot = edge.snapshot()
    known = {entry.host: entry.site for entry in snapshot.sites.values()} if snapshot is not None else {}
    return [_import_site(edge, program, site, known) for site in found.sites]


def _import_site(edge: Edge, program: str, site: import_sources.FoundSite, known: dict[str, str]) -> Imported:
    """The certificate before `acme`, so that it is renewed when due instead of ordered again at once."""
    key = known.get(site.host, site.site)
    attempted = f"import {site.host}"
    names = list(site.additional_names)
    try:
        if key not in known.values() and key != "main":
            settings = {"host": site.host, "additional_names": names, "certificate": "file"}
            ask_live(edge, requests.AddSiteRequest(key, settings), attempted)
        elif key in ("main", site.site):
            changes = {"host": site.host} if key == "main" else {}
            ask_live(edge, requests.SetSiteRequest(key, changes | {"additional_names": names}), attempted)
        result = ask_live(edge, requests.ImportRequest(key, site.files, program), attempted)
        chosen: dict[str, Any] = {"challenges": list(site.challenges)} if site.challenges else {}
        ask_live(edge, requests.SetSiteRequest(key, chosen | {"certificate": site.certificate.value}), attempted)
    except CommandFailed as failure:
        return Imported(key, Outcome.FAILED, failure.found)
    return Imported(key, result.outcome, result.message, result.version)


def _report(edge: Edge, found: import_sources.Found, results: list[Imported], *, as_json: bool) -> None:
    if as_json:
        print_json({"sites": encode(results), "notes": list(found.notes)})
    elif results:
        rows = [(each.site, Cell(each.outcome, BAD if each.is_fault else GOOD), each.message) for each in results]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each.outcome is Outcome.DONE for each in results):
            show_whether_served(edge)
    if any(each.is_fault for each in results):
        raise typer.Exit(Exit.FAILED)
