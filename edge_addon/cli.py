"""The console script `certedge`: the commands of certstore, and the two that need the edge, `run` and `demo`.

Only these two import mitmproxy; every other command starts without it.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.context import Config, chosen_config
from certstore.cli.failure import run_app
from certstore.cli.main import app


@app.command(epilog="Example: certedge run --config /etc/certedge/edge.yaml")
def run(config: Config = None) -> None:
    """Run the service: listeners, workers and the control process. Reloads on SIGHUP, drains on SIGTERM."""
    from edge_addon.processes.default_addons import leave_out

    leave_out()
    from edge_addon.processes.supervisor import run as run_supervisor

    raise typer.Exit(run_supervisor(chosen_config(config)))


@app.command(epilog="Example: certedge demo --once")
def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", show_default=False, help="Folder for the demo (default: a new one)."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the checks instead of serving until Ctrl-C.")
    ] = False,
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=5, help="Show a cluster of so many nodes instead; needs etcd.")
    ] = 1,
) -> None:
    """Try everything on free high ports with a demo CA and demo servers; needs no root and no network."""
    from edge_addon.demo.show import run_demo

    if nodes == 1:
        raise typer.Exit(run_demo(folder, once=once))
    from edge_addon.demo.cluster import run_cluster

    raise typer.Exit(run_demo(folder, once=once, run=partial(run_cluster, count=nodes, once=once)))


def main() -> int:
    """The exit code: 0 success, 1 failure, 2 wrong usage or settings, 3 success, but problems were found."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
