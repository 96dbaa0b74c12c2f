"""`certedge preflight`: finds what would make an order fail, without ordering."""

from __future__ import annotations

import typer

from certstore.cli.asking import ask_live, show_findings
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.output import GOOD, Cell, print_json, print_lines


def preflight(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """Check what an order for SITE depends on: the CA's directory, and each name's DNS, port 80 and CAA records."""
    from certstore.control.commands.requests import PreflightRequest

    attempted = f"check whether a certificate for {site} can be ordered"
    check_site_key(site, attempted)
    result = ask_live(open_edge(config), PreflightRequest(site), attempted)
    if as_json:
        print_json(result.to_json())
    elif result.findings:
        show_findings(result.findings)
    else:
        print_lines(Cell(f"no obstacles to an order for {', '.join(result.names)}", GOOD))
    if result.findings:
        raise typer.Exit(Exit.PROBLEMS)
