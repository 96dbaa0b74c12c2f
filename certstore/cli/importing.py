"""`certedge import`: takes over what certbot, acme.sh or BlueMind have left, as it is.

Read here, as the user who runs the command; shown; then handed to whoever writes the store, site by site.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certstore.cli.asking import show_whether_served
from certstore.cli.context import AsJson, Config, Edge, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.live import ask_live
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table
from certstore.control.protocol import pack_bytes, pack_files

if TYPE_CHECKING:
    from certstore.cli.import_sources import Found, FoundSite

_ATTEMPTED = "take over certificates"


def _folder_option(name: str, what: str) -> Any:
    return typer.Option(name, metavar="DIR", show_default=False, help=what)


def import_(
    certbot: Annotated[Path | None, _folder_option("--certbot", "certbot's folder, usually /etc/letsencrypt.")] = None,
    acme_sh: Annotated[Path | None, _folder_option("--acme-sh", "acme.sh's folder, usually ~/.acme.sh.")] = None,
    bluemind: Annotated[
        Path | None, _folder_option("--bluemind", "The folder of bm_cert.pem, usually /etc/ssl/certs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is done.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take over sites, certificates and the CA account of another program. Nothing changes there."""
    from certstore.cli.import_sources import READERS

    given = {"certbot": certbot, "acme.sh": acme_sh, "bluemind": bluemind}
    chosen = [(program, folder) for program, folder in given.items() if folder is not None]
    if len(chosen) != 1:
        allowed = "give one of --certbot DIR, --acme-sh DIR, --bluemind DIR"
        raise CommandFailed(_ATTEMPTED, "where from is not said", allowed, Exit.USAGE)
    program, folder = chosen[0]
    edge = open_edge(config)
    try:
        found = READERS[program](folder)
    except OSError as error:
        raise CommandFailed(
            _ATTEMPTED, f"{error.filename}: {error.strerror}", "name the right folder, as root"
        ) from None
    if not as_json:
        _show(found)
    if dry_run:
        if as_json:
            print_json({"sites": [_planned(each) for each in found.sites], "notes": list(found.notes)})
        return
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm("Take these over?", abort=True)
    _report(edge, found, _take_over(edge, program, found), as_json=as_json)


def _planned(site: FoundSite) -> dict[str, Any]:
    names = [site.host, *site.additional_names]
    return {"site": site.site, "names": names, "certificate": site.certificate.value, "from": site.path}


def _show(found: Found) -> None:
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
        print_lines("nothing to take over")


def _take_over(edge: Edge, program: str, found: Found) -> list[dict[str, Any]]:
    """Accounts first: a site that is set to acme may be ordered for within seconds."""
    for account in found.accounts:
        args = {
            "directory": account.directory,
            "url": account.url,
            "key": pack_bytes(account.key_pem),
            "contact": list(account.contact),
        }
        facts = ask_live(edge, "account.adopt", args, f"take over the account at {account.directory}")
        if sys.stdout.isatty():
            print_lines(Cell(facts["message"], GOOD if facts["outcome"] == "adopted" else QUIET))
    known = _known_sites(edge)
    return [_take_over_site(edge, program, site, known) for site in found.sites]


def _known_sites(edge: Edge) -> dict[str, str]:
    """Hosts of the sites there are, and their keys; none in a store that is new."""
    from certstore.store.journal import JournalUnreadable
    from certstore.store.reader import Store

    try:
        return {entry.host: entry.site for entry in Store(edge.layout).snapshot().sites.values()}
    except JournalUnreadable:
        return {}


def _take_over_site(edge: Edge, program: str, site: FoundSite, known: dict[str, str]) -> dict[str, Any]:
    """The certificate before `acme`: it is renewed when its time comes, and not ordered once more at once."""
    key = known.get(site.host, site.site)
    attempted = f"take over {site.host}"
    names = list(site.additional_names)
    try:
        if key not in known.values() and key != "main":
            settings = {"host": site.host, "additional_names": names, "certificate": "file"}
            ask_live(edge, "site.add", {"site": key, "settings": settings}, attempted)
        elif key in ("main", site.site):
            changes = {"host": site.host} if key == "main" else {}
            ask_live(edge, "site.set", {"site": key, "changes": changes | {"additional_names": names}}, attempted)
        args = {"site": key, "files": pack_files(site.files), "program": program}
        facts = ask_live(edge, "cert.import", args, attempted)
        ask_live(edge, "site.set", {"site": key, "changes": {"certificate": site.certificate.value}}, attempted)
    except CommandFailed as failure:
        return {"site": key, "outcome": "failed", "message": failure.found}
    return {"site": key, "outcome": facts["outcome"], "message": facts["message"], "version": facts["version"]}


def _report(edge: Edge, found: Found, results: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"sites": results, "notes": list(found.notes)})
    elif results:
        rows = [
            (
                each["site"],
                Cell(each["outcome"], GOOD if each["outcome"] in ("done", "noted") else BAD),
                each["message"],
            )
            for each in results
        ]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each["outcome"] == "done" for each in results):
            show_whether_served(edge)
    if any(each["outcome"] not in ("done", "noted") for each in results):
        raise typer.Exit(Exit.FAILED)
