"""`certedge cluster engine-files`: what an etcd needs that the nodes of a cluster share. Starts nothing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certstore.cli.context import AsJson, option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import atomic
from certstore.cli.output import print_json, print_lines
from certstore.files.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from certstore.cluster.engine_files import Member

_ON_MEMBER = "/root/certedge-engine"


def engine_files(
    members: Annotated[
        str, option("--members", "NAME=ADDRESS,…", "The engine's members: 3 or 5, or 1 that may stop everything.")
    ],
    nodes: Annotated[
        str | None, option("--nodes", "NAME,…", "Nodes that get a credential (default: the members' names).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that does not exist yet.")] = Path(
        "engine"
    ),
    as_json: AsJson = False,
) -> None:
    """Write certificates and settings for an etcd, and how to put them in place. Nothing is started."""
    import secrets

    from certstore.cluster import engine_files as files
    from certstore.model.settings.cluster import NODE_NAME

    attempted = f"write the engine's files to {out}"
    try:
        parsed = files.parse_members(members)
    except files.BadMembers as error:
        remedy = "for example: --members edge-a=10.0.0.11,edge-b=10.0.0.12,witness=10.0.0.13"
        raise CommandFailed(attempted, str(error), remedy, Exit.USAGE) from None
    names = [member.name for member in parsed] if nodes is None else [name.strip() for name in nodes.split(",")]
    if bad := [name for name in names if not NODE_NAME.fullmatch(name)]:
        found = f"{bad[0]!r} can't be the name of a node"
        raise CommandFailed(attempted, found, "use lower-case letters, digits and inner hyphens", Exit.USAGE)
    made = files.engine_files(parsed, tuple(dict.fromkeys(names)), secrets.token_hex(8), utc_now())
    _write(out, made, attempted)
    if as_json:
        endpoints = [member.endpoint for member in parsed]
        print_json({"folder": str(out), "files": sorted(made), "engine": endpoints, "nodes": names})
        return
    print_lines(*_next_steps(out, parsed, names))


def _write(out: Path, made: Mapping[str, bytes], attempted: str) -> None:
    try:
        out.mkdir(0o700)
    except FileExistsError:
        remedy = "choose another folder with --out: a new authority would lock out what trusts the old one"
        raise CommandFailed(attempted, f"{out} exists already", remedy) from None
    except OSError as error:
        raise CommandFailed(attempted, f"{out}: {error.strerror}") from None
    folders = {folder for name in made for folder in Path(name).parents}
    for folder in sorted(folders):
        (out / folder).mkdir(0o700, exist_ok=True)
    for name, content in made.items():
        atomic.write_new_file(out / name, content, 0o600)
    for folder in folders:
        atomic.sync_folder(out / folder)


def _next_steps(out: Path, members: Sequence[Member], names: Sequence[str]) -> list[str]:
    folder = shlex.quote(str(out))
    lines = ["On each member's machine: apt install etcd-server. Then, from here, one after the other:", ""]
    for member in members:
        host = f"[{member.host}]" if ":" in member.host else member.host
        lines += [
            f"  scp -r {folder}/members/{member.name} root@{host}:{_ON_MEMBER}",
            f"  ssh root@{member.host} sh {_ON_MEMBER}/install",
        ]
    engines = " ".join(f"--engine {member.endpoint}" for member in members)
    first = names[0]
    return [
        *lines,
        "",
        f"Copy {out}/nodes/{first} to {first}, the node that has your sites, as cluster/ beside edge.yaml. There:",
        "",
        f"  certedge cluster init {engines} --ca-file cluster/engine-ca.pem --client-cert cluster/engine.pem",
        "",
        f"Keep {out}/engine-ca-key.pem offline: whoever has it can read and change everything in the engine.",
    ]
