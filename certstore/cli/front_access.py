"""`certedge cluster front-access`: the users and roles that a front needs in the engine. Changes nothing there."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.cluster import ask_status
from certstore.cli.context import AsJson, Config, argument, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import atomic
from certstore.cli.output import print_json, print_lines

_SCRIPT = "setup"


def front_access(
    node: Annotated[str, argument("NODE", "The front's name: one label, for example edge-f.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for them.")] = Path("front-access"),
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write passwords and a script for etcdctl that let a front only read. This changes nothing in the engine."""
    from certstore.cluster.front_access import FULL_USER, setup_script
    from certstore.model.settings.cluster import NODE_NAME

    attempted = f"write what {node} needs in the engine to {out}"
    if not NODE_NAME.fullmatch(node) or node in (FULL_USER, "root"):
        raise CommandFailed(attempted, f"{node!r:.80} can't be the name of a front", "choose another", Exit.USAGE)
    edge = open_edge(config)
    cluster = ask_status(edge, attempted).cluster
    try:
        out.mkdir(0o700)
    except OSError as error:
        raise CommandFailed(attempted, f"{out}: {error.strerror}", "choose another folder with --out") from None
    settings = edge.settings.cluster
    is_first = settings is None or settings.username is None
    for user in ("root", FULL_USER, node) if is_first else (node,):
        atomic.write_new_file(out / user, f"{secrets.token_urlsafe(24)}\n".encode(), 0o600)
    atomic.write_new_file(out / _SCRIPT, setup_script(cluster, node, is_first=is_first).encode(), 0o700)
    atomic.sync_folder(out)
    if as_json:
        print_json({"folder": str(out), "files": sorted(path.name for path in out.iterdir()), "cluster": cluster})
        return
    folder = shlex.quote(str(out))
    first = (
        f"The engine's access control is off still: give {out}/{FULL_USER} to every full node as",
        f"cluster/engine-password beside edge.yaml, add `username: {FULL_USER}` and",
        "`password_file: cluster/engine-password` to its section `cluster:`, reload it, and then run",
        "",
        "  etcdctl auth enable",
        "",
        f"Keep {out}/root offline.",
        "",
    )
    print_lines(
        "Where etcdctl reaches the engine:",
        "",
        f"  sh {folder}/{_SCRIPT}",
        "",
        *(first if is_first else ()),
        f"Then: certedge cluster invite {node} --front --username {node} --password-file {folder}/{node} "
        "--client-cert PEM",
    )
