"""`certedge cert request`, `certedge renew` and `certedge preflight`: certificates from a CA."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from certstore.cli.asking import ask_live, order_failure, show_findings, show_whether_served
from certstore.cli.completion import OF_SITES, SiteKey
from certstore.cli.context import AsJson, Config, argument, check_site_key, open_edge
from certstore.cli.failure import Exit
from certstore.cli.lazy import requests, results
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table, short, utc

_STYLES = {"done": GOOD, "failed": BAD, "held": WARNING, "not_due": QUIET}

_IGNORE_LIMITS = "Order even if the CA's rate limits, as counted here, seem to be reached."

_DETACHED = (
    "In a cluster whose engine is lost: order on this node, which can't ask the others. Do so on one node only; "
    "the others get the certificate when the engine is back."
)


def request(
    site: SiteKey,
    ignore_limits: Annotated[bool, typer.Option("--ignore-limits", "--force", help=_IGNORE_LIMITS)] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new key even if the site keeps its key (--reuse-key).")
    ] = False,
    detached: Annotated[bool, typer.Option("--detached", help=_DETACHED)] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Order a new certificate for SITE now. The site needs `certificate: acme`."""
    attempted = f"order a certificate for {site}"
    check_site_key(site, attempted)
    edge = open_edge(config)
    result = ask_live(edge, requests.OrderRequest(site, ignore_limits, new_key, detached), attempted)
    is_done = result.outcome is results.OrderOutcome.DONE
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


def renew(
    sites: Annotated[
        list[str] | None, argument("SITE", "The sites to renew (default: all with `certificate: acme`).", **OF_SITES)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Renew even if not due.")] = False,
    ignore_limits: Annotated[bool, typer.Option("--ignore-limits", help=_IGNORE_LIMITS)] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Renew the certificates that are due, without waiting for the next automatic attempt."""
    attempted = "renew " + (", ".join(sites) if sites else "what is due")
    for site in sites or ():
        check_site_key(site, attempted)
    edge = open_edge(config)
    result = ask_live(edge, requests.RenewRequest(tuple(sites or ()), force, ignore_limits), attempted)
    if as_json:
        print_json(result.to_json())
    elif result.sites:
        rows = [
            (each.site, Cell(each.outcome.replace("_", " "), _STYLES[each.outcome]), _what(each))
            for each in result.sites
        ]
        print_table(("site", "outcome", "what"), rows, wraps=("what",))
        if any(each.outcome is results.OrderOutcome.DONE for each in result.sites):
            show_whether_served(edge)
    else:
        print_lines("no site has `certificate: acme`")
    if any(each.outcome in (results.OrderOutcome.FAILED, results.OrderOutcome.HELD) for each in result.sites):
        raise typer.Exit(Exit.FAILED)


def _what(result: results.OrderResult | results.NotDue) -> str:
    if isinstance(result, results.NotDue):
        with suppress(ValueError):  # it has no due time
            return f"not due before {utc(datetime.fromisoformat(result.due))}"
    return result.message


def preflight(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """Check what an order for SITE depends on: the CA's directory, each name's DNS and CAA records, and the ways to
    prove the name (acme.challenges)."""
    attempted = f"check whether a certificate for {site} can be ordered"
    check_site_key(site, attempted)
    result = ask_live(open_edge(config), requests.PreflightRequest(site), attempted)
    if as_json:
        print_json(result.to_json())
    else:
        show_findings(result.findings)
        if not result.findings:
            print_lines(Cell(f"no obstacles to an order for {', '.join(result.names)}", GOOD))
        rows = [(each.name, Cell(each.way or "none", "" if each.way else BAD), each.why) for each in result.ways]
        print_table(("name", "proven by", "why"), rows, wraps=("why",))
        if result.standing_records:
            print_lines("This CA also offers dns-persist-01: these records prove the names for good (acme.challenges).")
            print_lines(*(f'{each.name}. TXT "{each.value}"' for each in result.standing_records))
    if result.findings:
        raise typer.Exit(Exit.PROBLEMS)
