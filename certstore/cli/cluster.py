"""`certedge cluster …`: nodes that share sites and certificates over an engine.

What needs the cluster's keys is done by the store's owner; this side asks, and keeps edge.yaml and the files beside it.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from certstore.cli import cluster_files
from certstore.cli.asking import ask, service_runs
from certstore.cli.completion import node_names
from certstore.cli.context import AsJson, Config, Edge, argument, group, open_edge, option, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import requests, results
from certstore.cli.output import BAD, GOOD, QUIET, WARNING, Cell, print_json, print_lines, print_table, utc

app = group("Share sites and certificates between several nodes.", "certedge cluster status")

INVITATION_LIMIT = 256 * 1024

_Addresses = Annotated[
    list[str] | None, repeated_option("--address", "HOST", "Where clients reach the node (default: its listeners)")
]


@app.command(
    epilog="Example: certedge cluster init --engine https://10.0.0.11:2379 --ca-file cluster/engine-ca.pem "
    "--client-cert cluster/engine.pem"
)
def init(
    engine: Annotated[list[str] | None, repeated_option("--engine", "URL", "A member of the engine")] = None,
    ca_file: Annotated[Path | None, option("--ca-file", "PEM", "The authority of the engine's members.")] = None,
    client_cert: Annotated[
        Path | None, option("--client-cert", "PEM", "This node's certificate and key for the engine.")
    ] = None,
    node: Annotated[str | None, option("--node", "NAME", "This node's name (default: the host name).")] = None,
    address: _Addresses = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make this node the first of a new cluster. Its sites and certificates stay as they are.

    The options become the section `cluster:` of edge.yaml; leave them out where it is there already.
    """
    attempted = "found a cluster"
    edge = open_edge(config)
    section = _section(edge)
    given = {
        "engine": engine,
        "ca_file": cluster_files.relative(edge.base, ca_file),
        "client_cert": cluster_files.relative(edge.base, client_cert),
        "node": node,
        "addresses": address,
    }
    given = {name: value for name, value in given.items() if value}
    if section is not None and given:
        found = f"{edge.config} has a section `cluster:` already"
        raise CommandFailed(attempted, found, "leave the options out, or change the section", Exit.USAGE)
    section = section if section is not None else cluster_files.checked({"node": _node_name(None), **given}, attempted)
    request = requests.InitClusterRequest(
        section, str(edge.base.absolute()), _node_name(section.get("node")), _listeners(edge)
    )
    result = ask(edge, request, attempted)
    added = cluster_files.add_section(edge, section)
    _show(edge, result, added, as_json=as_json)


@app.command(epilog="Example: certedge cluster invite edge-c | ssh edge-c certedge cluster join -")
def invite(
    node: Annotated[str, argument("NODE", "The name of the new node: one label, as edge-c.")],
    front: Annotated[
        bool, typer.Option("--front", help="A front: it serves all sites, and can change nothing.")
    ] = False,
    address: _Addresses = None,
    again: Annotated[bool, typer.Option("--again", help="The machine of an existing node was set up anew.")] = False,
    client_cert: Annotated[
        Path | None,
        option("--client-cert", "PEM", "The new node's certificate and key for the engine (default: ours)."),
    ] = None,
    username: Annotated[
        str | None,
        option("--username", "NAME", "The new node's user in the engine (default: ours; a front needs one)."),
    ] = None,
    password_file: Annotated[
        Path | None, option("--password-file", "FILE", "The password of that user, in a file.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Print an invitation for `cluster join`. It works once, within an hour, and is a secret until then."""
    attempted = f"invite {node}"
    edge = open_edge(config)
    section = _needed_section(edge, attempted)
    client = _read_text(client_cert, attempted) if client_cert is not None else ""
    base = str(edge.base.absolute())
    if (username is None) is not (password_file is None):
        found = "--username and --password-file belong together"
        raise CommandFailed(attempted, found, "give both, or neither", Exit.USAGE)
    password = _read_text(password_file, attempted).strip() if password_file is not None else ""
    request = requests.InviteNodeRequest(
        section, base, node, front, tuple(address or ()), again, client, username or "", password
    )
    result = ask(edge, request, attempted)
    if as_json:
        print_json(result.to_json())
        return
    sys.stdout.write(result.text)
    if sys.stdout.isatty():
        sys.stderr.write(
            f"Whoever has this text first can become {node}, until {utc(result.expires)}. Pass it on unread: "
            f"ssh THIS-NODE certedge cluster invite {node} | ssh {node} certedge cluster join -\n"
        )


@app.command(epilog="Example: certedge cluster join - < invitation")
def join(
    invitation: Annotated[str, argument("FILE|-", "The invitation: a file, or - for the standard input.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Give this node's own sites and certificates to the cluster.")
    ] = False,
    only: Annotated[list[str] | None, repeated_option("--only", "SITE", "Keep only this site (default: all)")] = None,
    address: _Addresses = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make this node a member of the cluster that the invitation is from."""
    attempted = "join the cluster"
    edge = open_edge(config)
    text = _read_invitation(invitation, attempted)
    invited = cluster_files.parse_invitation(text, attempted)
    with cluster_files.engine_files(edge, invited, attempted) as files:
        section = _section(edge)
        if section is None:
            given = {name: value for name, value in (("addresses", address), ("only", only)) if value}
            section = cluster_files.checked({"node": invited.node, **files, **given}, attempted)
        elif only or address:
            found = f"{edge.config} has a section `cluster:` already"
            raise CommandFailed(attempted, found, "leave the options out, or change the section", Exit.USAGE)
        elif _node_name(section.get("node")) != invited.node:
            found = f"{edge.config} calls this node {_node_name(section.get('node'))}, the invitation {invited.node}"
            raise CommandFailed(attempted, found, "change `cluster.node`, or ask for another invitation", Exit.USAGE)
        base = str(edge.base.absolute())
        result = ask(edge, requests.JoinClusterRequest(section, base, text, merge, _listeners(edge)), attempted)
    added = cluster_files.add_section(edge, section)
    _show(edge, result, added, as_json=as_json)


@app.command(epilog="Example: certedge cluster status --json | jq '.nodes[] | select(.state != \"in_step\")'")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Show the nodes, whether they are in step, and the engine. Exit code 3 if there are problems."""
    attempted = "show the cluster"
    edge = open_edge(config)
    result = ask_status(edge, attempted)
    if as_json:
        print_json(result.to_json())
    else:
        _show_status(result)
    if result.has_problems:
        raise typer.Exit(Exit.PROBLEMS)


@app.command(epilog="Example: certedge cluster leave")
def leave(
    last: Annotated[
        bool, typer.Option("--last", help="This is the last node: end the cluster, and empty the engine of it.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take this node out of its cluster. Its store stays as it is, and it goes on serving alone."""
    attempted = "leave the cluster"
    edge = open_edge(config)
    section = _needed_section(edge, attempted)
    request = requests.LeaveClusterRequest(section, str(edge.base.absolute()), is_last=last)
    result = ask(edge, request, attempted)
    removed = cluster_files.remove_section(edge)
    _show(edge, result, removed, as_json=as_json)
    if not as_json and (left := cluster_files.left_files(edge)):
        print_lines(f"no longer needed, unless this node joins again: {', '.join(map(str, left))}")


@app.command(epilog="Example: certedge cluster remove edge-b")
def remove(
    node: Annotated[str, argument("NODE", "The member's name.", autocompletion=node_names)],
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="Somebody may have its files: also replace the cluster's key and the keys of all sites.",
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take out a member whose machine is gone or stolen. On a machine that runs, use cluster leave instead."""
    attempted = f"take {node} out of the cluster"
    edge = open_edge(config)
    section, base = _needed_section(edge, attempted), str(edge.base.absolute())
    request: requests.CommandRequest[results.MembershipResult] = requests.LeaveClusterRequest(section, base, node)
    if compromised:
        request = requests.RemoveCompromisedRequest(section, base, node)
    _show(edge, ask(edge, request, attempted), None, as_json=as_json)


@app.command("rotate-key", epilog="Example: certedge cluster rotate-key")
def rotate_key(config: Config = None, as_json: AsJson = False) -> None:
    """Give the cluster a new key, and seal all records in the engine with it. Nodes keep serving.

    If it is interrupted, run it again on any full node, and it continues.
    """
    attempted = "change the cluster's key"
    edge = open_edge(config)
    section = _needed_section(edge, attempted)
    result = ask(edge, requests.RotateKeyRequest(section, str(edge.base.absolute())), attempted)
    _show(edge, result, None, as_json=as_json)


@app.command(epilog="Example: certedge cluster rebuild")
def rebuild(config: Config = None, as_json: AsJson = False) -> None:
    """Fill an engine that was emptied, or lost much, from this node's store. What the engine has stays."""
    attempted = "fill the engine again"
    edge = open_edge(config)
    section = _needed_section(edge, attempted)
    result = ask(edge, requests.RebuildClusterRequest(section, str(edge.base.absolute())), attempted)
    _show(edge, result, None, as_json=as_json)
    if not service_runs(edge) and not as_json:
        print_lines("next: start the service, which does it")


def ask_status(edge: Edge, attempted: str) -> results.ClusterStatusResult:
    """For other commands that want to know the nodes. Raises CommandFailed."""
    section = _needed_section(edge, attempted)
    return ask(edge, requests.ClusterStatusRequest(section, str(edge.base.absolute())), attempted)


def _section(edge: Edge) -> dict[str, Any] | None:
    settings = edge.settings.cluster
    return settings.model_dump(mode="json", exclude_defaults=True) if settings is not None else None


def _needed_section(edge: Edge, attempted: str) -> dict[str, Any]:
    section = _section(edge)
    if section is None:
        found = f"{edge.config} has no section `cluster:`: this node is alone"
        remedy = "to begin a cluster: certedge cluster init; to become a member of one: certedge cluster join"
        raise CommandFailed(attempted, found, remedy, Exit.USAGE)
    return section


def _node_name(name: str | None) -> str:
    return name or socket.gethostname().partition(".")[0].lower()


def _listeners(edge: Edge) -> tuple[results.ListenerAddress, ...]:
    return tuple(
        results.ListenerAddress(each.kind.value, each.listen.host, each.listen.port, each.accept_proxy_protocol)
        for each in edge.settings.listeners
    )


def _read_text(path: Path, attempted: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(INVITATION_LIMIT).decode("ascii")
    except OSError as error:
        raise CommandFailed(attempted, f"{path}: {error.strerror}", "", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise CommandFailed(attempted, f"{path} is not a PEM file", "", Exit.USAGE) from None


def _read_invitation(source: str, attempted: str) -> str:
    """Never from an argument: those are seen by every user of the machine."""
    if source == "-":
        if sys.stdin.isatty():
            sys.stderr.write("Paste the invitation, then press Ctrl-D.\n")
        content = sys.stdin.buffer.read(INVITATION_LIMIT)
    else:
        try:
            with Path(source).open("rb") as file:
                content = file.read(INVITATION_LIMIT)
        except (OSError, ValueError) as error:
            # The argument may be the invitation itself, pasted: it is not repeated.
            reason = error.strerror if isinstance(error, OSError) else "not a file name"
            found = f"the file with the invitation can't be read: {reason}"
            raise CommandFailed(attempted, found, "name a file, or pass it on stdin with -", Exit.USAGE) from None
    return content.decode("ascii", "replace")


def _show(edge: Edge, result: results.MembershipResult, change: cluster_files.Changed | None, *, as_json: bool) -> None:
    is_running = change is not None and service_runs(edge)
    if as_json:
        facts = {"edge_yaml_changed": change.is_done} if change is not None else {}
        print_json({**result.to_json(), **facts, "service_runs": is_running})
        return
    print_lines(Cell(result.message, GOOD), *(Cell(f"note: {note}", WARNING) for note in result.notes))
    if change is None:
        return
    print_lines(change.message)
    sys.stdout.write(change.to_write)
    todo = "apply it with certedge reload" if is_running else "start: certedge run"
    print_lines(f"next: {todo}")


def _show_status(result: results.ClusterStatusResult) -> None:
    style = WARNING if result.has_problems else GOOD
    print_lines(Cell(f"cluster {result.cluster}: {result.summary}", style))
    for problem in result.problems:
        print_lines(Cell(f"{problem.code}: {problem.message}", BAD))
    if result.nodes:
        rows = [
            (
                Cell(each.name + (" (this one)" if each.name == result.node else "")),
                Cell(f"{each.role}, caretaker" if each.is_caretaker else each.role),
                Cell(each.state.replace("_", " "), GOOD if each.state == "in_step" else BAD),
                Cell("" if each.sites is None else str(each.sites)),
                Cell(each.release or "", QUIET),
                Cell("; ".join(problem.message for problem in each.problems), WARNING),
            )
            for each in result.nodes
        ]
        headers = ("node", "role", "state", "sites", "release", "problems")
        print_table(headers, rows, gives_way=("release",), wraps=("problems",))
    members = [
        (
            Cell(each.endpoint + (" (leader)" if each.is_leader else "")),
            Cell(each.version or "", QUIET),
            Cell("" if each.used_bytes is None else f"{each.used_bytes / 1e6:.1f} MB"),
            Cell(each.problem or "", BAD),
        )
        for each in result.engine
    ]
    print_table(("engine", "version", "size", "problem"), members, gives_way=("version",), wraps=("problem",))
