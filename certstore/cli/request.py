"""`certedge cert request`: orders a site's certificate now and shows each step."""

from __future__ import annotations

from typing import Annotated

import typer

from certstore.cli.asking import ask_live, order_failure, show_findings, show_whether_served
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines, short


def request(
    site: SiteKey,
    force: Annotated[
        bool, typer.Option("--force", help="Order even if the CA's rate limits, as counted here, seem to be reached.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Order a new certificate for SITE now. The site needs `certificate: acme`."""
    from certstore.control.commands.requests import OrderRequest
    from certstore.control.commands.results import OrderOutcome

    attempted = f"order a certificate for {site}"
    check_site_key(site, attempted)
    edge = open_edge(config)
    result = ask_live(edge, OrderRequest(site, force), attempted)
    is_done = result.outcome is OrderOutcome.DONE
    if as_json:
        print_json(result.to_json())
        if not is_done:
            raise typer.Exit(Exit.FAILED)
        return
    if not is_done:
        show_findings(result.findings)
        raise order_failure(edge, result, attempted)
    print_lines(Cell(f"version {result.version} of {site} ({short(result.fingerprint)}…): {result.message}", GOOD))
    if result.left_out:
        print_lines(
            Cell(f"without {', '.join(result.left_out)}: added again once the check of the name succeeds", WARNING)
        )
    show_whether_served(edge)
