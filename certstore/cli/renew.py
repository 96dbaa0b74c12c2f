"""`certedge renew`: renews now what the service would renew by itself."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.asking import ask_live, show_whether_served
from certstore.cli.completion import site_keys
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table, utc

if TYPE_CHECKING:
    from certstore.control.commands.results import NotDue, OrderResult

_STYLES = {"done": GOOD, "failed": BAD, "held": WARNING, "not_due": QUIET}


def renew(
    sites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SITE]...",
            show_default=False,
            autocompletion=site_keys,
            help="The sites to renew (default: all with `certificate: acme`).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Renew even if not due, and ignore rate limits.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Renew the certificates that are due, without waiting for the next automatic attempt."""
    from certstore.control.commands.requests import RenewRequest
    from certstore.control.commands.results import OrderOutcome

    attempted = "renew " + (", ".join(sites) if sites else "what is due")
    for site in sites or ():
        check_site_key(site, attempted)
    edge = open_edge(config)
    result = ask_live(edge, RenewRequest(tuple(sites or ()), force), attempted)
    if as_json:
        print_json(result.to_json())
    elif result.sites:
        rows = [
            (each.site, Cell(each.outcome.replace("_", " "), _STYLES[each.outcome]), _what(each))
            for each in result.sites
        ]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each.outcome is OrderOutcome.DONE for each in result.sites):
            show_whether_served(edge)
    else:
        print_lines("no site has `certificate: acme`")
    if any(each.outcome in (OrderOutcome.FAILED, OrderOutcome.HELD) for each in result.sites):
        raise typer.Exit(Exit.FAILED)


def _what(result: OrderResult | NotDue) -> str:
    from certstore.control.commands.results import NotDue

    if isinstance(result, NotDue):
        with suppress(ValueError):  # it has no due time
            return f"not due before {utc(datetime.fromisoformat(result.due))}"
    return result.message
