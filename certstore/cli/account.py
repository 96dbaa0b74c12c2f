"""`certedge account …`: the ACME account at each CA."""

from __future__ import annotations

from typing import Annotated

import typer

from certstore.cli.asking import ask_live, confirm
from certstore.cli.context import AsJson, Config, group, open_edge
from certstore.cli.lazy import requests, results
from certstore.cli.output import print_json, print_table

app = group("Manage the ACME account at each CA; all sites share it.", "certedge account show")


@app.command(epilog="Example: certedge account show --json")
def show(config: Config = None, as_json: AsJson = False) -> None:
    """Show the account at each CA and the addresses that the CA writes to."""
    _print(ask_live(open_edge(config), requests.ShowAccountsRequest(), "read the accounts"), as_json=as_json)


@app.command(epilog="Example: certedge account register --agree-to-terms")
def register(
    agree_to_terms: Annotated[
        bool, typer.Option("--agree-to-terms", help="Confirm that you have read and accept the CA's terms of service.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register an account at every configured CA, or update the contact of an existing one."""
    request = requests.RegisterAccountsRequest(agree_to_terms)
    _print(ask_live(open_edge(config), request, "register with the CA"), as_json=as_json)


@app.command(epilog="Example: certedge account rollover")
def rollover(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give the account at each CA a new key. The account stays the same; its old key is of no use any more."""
    attempted = "change the keys of the accounts"
    edge = open_edge(config)
    confirm("Give the account at each CA a new key? CAA records that name the account stay valid.", attempted, yes=yes)
    _print(ask_live(edge, requests.RollOverAccountsRequest(), attempted), as_json=as_json)


def _print(result: results.AccountsResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
        return
    rows = [(each.ca, each.url or "none yet", ", ".join(each.contact)) for each in result.accounts]
    print_table(("CA", "account", "contact"), rows, gives_way=("contact",), wraps=("contact",))
