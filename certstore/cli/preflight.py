"""`certedge preflight`: what stands in the way of an order, found without ordering."""

from __future__ import annotations

import typer

from certstore.cli.asking import ask_live, show_findings
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.output import GOOD, Cell, print_json, print_lines


def preflight(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """Check the CA's directory, and each name's DNS, port 80 and CAA records, as the CA will."""
    from certstore.control.commands.requests import PreflightRequest

    attempted = f"check what an order for {site} would meet"
    check_site_key(site, attempted)
    result = ask_live(open_edge(config), PreflightRequest(site), attempted)
    if as_json:
        print_json(result.to_json())
    elif result.findings:
        show_findings(result.findings)
    else:
        print_lines(Cell(f"nothing stands in the way of an order for {', '.join(result.names)}", GOOD))
    if result.findings:
        raise typer.Exit(Exit.PROBLEMS)
