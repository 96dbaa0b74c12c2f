"""The console script `certedge`: the commands of certstore, and the two that need the edge itself, `run` and `demo`.

mitmproxy is imported only when one of these two runs: every other command starts without it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.context import Config, chosen_config
from certstore.cli.failure import run_app
from certstore.cli.main import app


@app.command(epilog="Example: certedge run --config /etc/certedge/edge.yaml")
def run(config: Config = None) -> None:
    """Serve: bind the listeners, start workers and control, restart what ends, drain on SIGTERM."""
    from edge_addon.processes.supervisor import run as run_supervisor

    raise typer.Exit(run_supervisor(chosen_config(config)))


@app.command(epilog="Example: certedge demo --once")
def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", show_default=False, help="Where to build it (default: a new folder)."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End after the show instead of serving until Ctrl-C.")] = False,
) -> None:
    """Show everything on free high ports with a CA and servers of its own; no root, no network."""
    from edge_addon.demo.show import run_demo

    raise typer.Exit(run_demo(folder, once=once))


def main() -> int:
    """The exit code: 0 done, 1 it failed, 2 usage or settings, 3 it ran and found problems."""
    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
