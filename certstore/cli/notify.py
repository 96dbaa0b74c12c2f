"""`certedge notify …`: warnings by mail."""

from __future__ import annotations

from typing import Annotated

from certstore.cli.asking import ask_live
from certstore.cli.context import AsJson, Config, group, open_edge, repeated_option
from certstore.cli.failure import CommandFailed
from certstore.cli.lazy import requests
from certstore.cli.output import GOOD, Cell, print_json, print_lines

app = group("Manage warnings by mail and webhook.", "certedge notify test")


@app.callback()
def notify() -> None:
    """With a callback, typer keeps `test` a subcommand although it is the only one."""


@app.command("test", epilog="Example: certedge notify test --to me@example.com")
def send_test(
    to: Annotated[list[str] | None, repeated_option("--to", "ADDRESS", "Send only to this address")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send a test warning the way warnings are sent: by mail to everyone in notify.to, and to the webhook."""
    attempted = "send a test mail"
    result = ask_live(open_edge(config), requests.TestMailRequest(tuple(to or ())), attempted)
    if as_json:
        print_json(result.to_json())
    elif result.sent:
        print_lines(Cell(f"sent to {', '.join(result.sent)}", GOOD))
    if result.refused:
        found = "\n".join(f"{each.recipient}: {each.reason}" for each in result.refused)
        raise CommandFailed(attempted, found, "correct the address in notify.to, or what the webhook reports")
