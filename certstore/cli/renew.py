"""`certedge renew`: what the service does by itself, asked for by a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from certstore.cli.asking import show_whether_served
from certstore.cli.completion import site_keys
from certstore.cli.context import AsJson, Config, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.live import ask_live
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table, utc

_STYLES = {"done": GOOD, "failed": BAD, "held": WARNING, "not_due": QUIET}


def renew(
    sites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SITE]...",
            show_default=False,
            autocompletion=site_keys,
            help="Those sites; all that are ordered for if none.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Although it is not due, and whatever the limits.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Order what is due, without waiting for the next attempt; with --force order it all the same."""
    attempted = "renew " + (", ".join(sites) if sites else "what is due")
    for site in sites or ():
        check_site_key(site, attempted)
    edge = open_edge(config)
    facts = ask_live(edge, "cert.renew", {"sites": sites or [], "force": force}, attempted)
    results: list[dict[str, Any]] = facts["sites"]
    if as_json:
        print_json(facts)
    elif results:
        rows = [
            (each["site"], Cell(each["outcome"].replace("_", " "), _STYLES[each["outcome"]]), _what(each))
            for each in results
        ]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each["outcome"] == "done" for each in results):
            show_whether_served(edge)
    else:
        print_lines("no site has its certificate ordered (certificate: acme)")
    if any(each["outcome"] in ("failed", "held") for each in results):
        raise typer.Exit(Exit.FAILED)


def _what(result: Mapping[str, Any]) -> str:
    if result["outcome"] != "not_due":
        return str(result["message"])
    try:
        return f"not due before {utc(datetime.fromisoformat(result['due']))}"
    except ValueError:  # it changes first: there is no such time
        return str(result["message"])
