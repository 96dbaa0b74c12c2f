"""`certedge cert request`: order a site's certificate now, and watch it."""

from __future__ import annotations

from typing import Annotated

import typer

from certstore.cli.asking import show_whether_served
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.live import ask_live, failure_of, show_findings
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines, short


def request(
    site: SiteKey,
    force: Annotated[
        bool, typer.Option("--force", help="Although our own count of the CA's limits says that it will refuse.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Order a new certificate for SITE now. The site has to be set to `certificate: acme`."""
    attempted = f"order a certificate for {site}"
    check_site_key(site, attempted)
    edge = open_edge(config)
    facts = ask_live(edge, "cert.request", {"site": site, "force": force}, attempted)
    if as_json:
        print_json(facts)
        if facts["outcome"] != "done":
            raise typer.Exit(Exit.FAILED)
        return
    if facts["outcome"] != "done":
        show_findings(facts["findings"])
        raise failure_of(edge, facts, attempted)
    print_lines(
        Cell(f"version {facts['version']} of {site} ({short(facts['fingerprint'])}…): {facts['message']}", GOOD)
    )
    if facts.get("left_out"):
        print_lines(Cell(f"without {', '.join(facts['left_out'])}: it comes back when it passes", WARNING))
    show_whether_served(edge)
