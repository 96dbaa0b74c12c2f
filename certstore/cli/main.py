"""The typer app of `certedge`: one line per command."""

from __future__ import annotations

from typing import Annotated

import typer

from certstore.cli import (
    account,
    admin,
    cert_show,
    certificates,
    check,
    cluster,
    doc_pages,
    engine_files,
    explain,
    front_access,
    importing,
    init,
    notify,
    orders,
    print_unit,
    reload,
    revoke,
    sites,
    status,
    verify,
)
from certstore.cli.context import App, Config

app = App(
    name="certedge",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An edge front for mail platforms: the right certificate for every server name, replaced without a restart.",
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 3 success, but problems were found.",
)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"certedge {version('mitmproxy-edge')}")
        raise typer.Exit


@app.callback()
def certedge(
    config: Config = None,
    wants_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


app.command(epilog="Example: certedge init --sample one-server --host mail.example.com --dir /etc/certedge")(init.init)
app.command("check-config", epilog="Example: certedge check-config --config /etc/certedge/edge.yaml")(
    check.check_config
)
app.command(epilog="Example: certedge status --json | jq '.sites[] | select(.problems != [])'")(status.status)
app.command(epilog="Example: certedge reload --config /etc/certedge/edge.yaml")(reload.reload)
app.command(
    "print-unit", epilog="Example: certedge print-unit certedge.service > /etc/systemd/system/certedge.service"
)(print_unit.print_unit)
app.command(epilog="Example: certedge docs operations | less")(doc_pages.docs)
app.command(epilog="Example: certedge explain webmail.example.com --kind https")(explain.explain)
app.command(epilog="Example: certedge verify --site webmail.example.com")(verify.verify)
app.command(epilog="Example: certedge preflight webmail.example.com")(orders.preflight)
app.command(epilog="Example: certedge renew webmail.example.com --force")(orders.renew)
app.command("import", epilog="Example: certedge import --certbot /etc/letsencrypt --dry-run")(importing.import_)
app.add_typer(sites.app, name="site")
certificates.app.command(epilog="Example: certedge cert request webmail.example.com")(orders.request)
certificates.app.command(epilog="Example: certedge cert show webmail.example.com")(cert_show.show)
certificates.app.command(epilog="Example: certedge cert revoke webmail.example.com --reason key-compromise")(
    revoke.revoke
)
app.add_typer(certificates.app, name="cert")
app.add_typer(account.app, name="account")
cluster.app.command(
    "engine-files",
    epilog="Example: certedge cluster engine-files --members edge-a=10.0.0.11,edge-b=10.0.0.12,edge-c=10.0.0.13",
)(engine_files.engine_files)
cluster.app.command("front-access", epilog="Example: certedge cluster front-access edge-f --out /root/edge-f")(
    front_access.front_access
)
app.add_typer(cluster.app, name="cluster")
app.add_typer(notify.app, name="notify")
app.add_typer(admin.app, name="admin")
