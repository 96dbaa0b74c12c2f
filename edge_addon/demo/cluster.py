"""`certedge demo --nodes N`: nodes that share sites and certificates, founded and joined with the commands for it.

Shows what a cluster is for: a drop on one node is served by all; without the engine all go on serving and taking
drops; and when it is back, they are in step again.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from certstore.files.clock import utc_now
from certstore.model.cluster.standing import ClusterStanding
from certstore.model.layout import Layout
from edge_addon.demo import client
from edge_addon.demo.arrangement import DROP_NAME, MAIN_HOST
from edge_addon.demo.authority import Authority, Pair
from edge_addon.demo.checks import Wrong
from edge_addon.demo.engine import Engine
from edge_addon.demo.process import EdgeFailed, EdgeProcess
from edge_addon.demo.show import Printer
from edge_addon.demo.stand_ins import stand_ins

SERVED_SECONDS = 30.0
KINDS = ("http", "https", "health")
FIRST, SECOND, THIRD = "webmail.client-a.test", "webmail.client-b.test", "webmail.client-c.test"
_PAUSE = 0.01


class Node:
    """One node in its own folder. Runs from `start` on, within the stack that it is given."""

    def __init__(self, name: str, folder: Path, *, web: int) -> None:
        self.name = name
        self.folder = folder
        self.layout = Layout(folder / "store")
        self.edge_yaml = folder / "edge.yaml"
        folder.mkdir()
        self._sockets = {kind: socket.create_server(("127.0.0.1", 0), backlog=1024) for kind in KINDS}
        self.ports = {kind: each.getsockname()[1] for kind, each in self._sockets.items()}
        settings = {
            "store": "store",
            "upstream": f"http://127.0.0.1:{web}",
            "workers": 1,
            "listeners": [{"kind": kind, "listen": f"127.0.0.1:{port}"} for kind, port in self.ports.items()],
            "admin": {"listen": "127.0.0.1:0"},
            "limits": {"drain_seconds": 2},
        }
        self.edge_yaml.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.edge: EdgeProcess | None = None

    def start(self, stack: ExitStack) -> None:
        self.edge = stack.enter_context(EdgeProcess(self.edge_yaml, self._sockets.values(), self.folder / "edge.log"))
        for each in self._sockets.values():
            each.close()
        self.edge.wait_until_ready(self.ports["health"])

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()

    def drop(self, site: str, pair: Pair) -> None:
        folder = self.layout.drop_folder(site)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "unfinished"
        unfinished.write_bytes(pair.combined_pem)
        unfinished.replace(folder / DROP_NAME)

    def shown(self, name: str, root_pem: Path) -> str:
        with client.tls(self.ports["https"], name, client.trusting(root_pem)) as connection:
            return client.fingerprint(connection)

    def standing(self) -> ClusterStanding | None:
        try:
            return ClusterStanding.from_json(json.loads(self.layout.cluster_standing.read_bytes()))
        except (OSError, ValueError):
            return None


class Stage:
    """The nodes, their engine, and who issues certificates."""

    def __init__(self, nodes: Sequence[Node], engine: Engine, authority: Authority, root_pem: Path) -> None:
        self.nodes, self.engine, self.authority, self.root_pem = nodes, engine, authority, root_pem

    def serving(self, site: str, pair: Pair, nodes: Iterable[Node]) -> str:
        """Wait until all of these present the pair; says how long it took. Raises Wrong."""
        began, waiting = time.monotonic(), list(nodes)
        while waiting:
            waiting = [node for node in waiting if self._shown(node, site) != pair.fingerprint]
            if waiting and time.monotonic() > began + SERVED_SECONDS:
                raise Wrong(f"{', '.join(node.name for node in waiting)} did not serve it in {SERVED_SECONDS:.0f} s")
            time.sleep(_PAUSE)
        return f"{(time.monotonic() - began) * 1000:.0f} ms"

    def _shown(self, node: Node, site: str) -> str:
        try:
            return node.shown(site, self.root_pem)
        except OSError:
            return ""  # a node that has just joined still has a self-signed main certificate

    def demand_in_step(self) -> str:
        began = time.monotonic()
        while not all(self._says_in_step(node) for node in self.nodes):
            if time.monotonic() > began + SERVED_SECONDS:
                lines = (f"{node.name}: {at.line if (at := node.standing()) else 'nothing'}" for node in self.nodes)
                raise Wrong("; ".join(lines))
            time.sleep(_PAUSE)
        return f"{len(self.nodes)} nodes, in step"

    def _says_in_step(self, node: Node) -> bool:
        standing = node.standing()
        if standing is None or not standing.is_attached or standing.unpublished:
            return False
        return len(standing.nodes) == len(self.nodes) and all(each.state == "in_step" for each in standing.nodes)


def run_cluster(
    place: Path, printer: Printer, *, count: int, once: bool, disturb: Callable[[Stage], None] = lambda stage: None
) -> int:
    """Run the demo in an empty folder, and return how many checks failed. Raises EngineMissing, EdgeFailed."""
    names = [f"edge-{letter}" for letter in "abcdefghi"[:count]]
    now = utc_now()
    with ExitStack() as stack:
        behind = stack.enter_context(stand_ins())
        engine = stack.enter_context(Engine(place / "engine", names[0], now))
        printer.say(f"Creating a cluster of {count} nodes in {place}, with an etcd of one member.")
        engine.start()
        authority = Authority.create(now)
        root_pem = place / "ca.pem"
        root_pem.write_bytes(authority.root_pem)
        nodes = [Node(name, place / name, web=behind.web) for name in names]
        for node in nodes:
            stack.callback(node.close)
        stage = Stage(nodes, engine, authority, root_pem)
        _found(stage, printer, stack)
        disturb(stage)
        failed = _show(stage, printer)
        if not once:
            _tell_how_to_try(stage, printer)
            _serve(nodes)
            printer.say(f"\nStopping. The demo's files stay in {place}; delete the folder when you no longer need it.")
    return failed


def _found(stage: Stage, printer: Printer, stack: ExitStack) -> None:
    """The first node has sites; the others join it."""
    first, *others = stage.nodes
    for node in stage.nodes:
        site_yaml = node.layout.site_yaml("main")
        site_yaml.parent.mkdir(parents=True)
        site_yaml.write_text(yaml.safe_dump({"host": MAIN_HOST}))
    for site, host in (("main", MAIN_HOST), (FIRST, FIRST)):
        first.drop(site, stage.authority.issue(host, now=utc_now()))
    folder = first.folder / "cluster"
    folder.mkdir(mode=0o700)
    shutil.copy(stage.engine.ca_file, folder / "engine-ca.pem")
    shutil.copy(stage.engine.credential, folder / "engine.pem")
    files = ("--ca-file", "cluster/engine-ca.pem", "--client-cert", "cluster/engine.pem")
    _certedge(printer, first, "cluster", "init", "--node", first.name, "--engine", stage.engine.endpoint, *files)
    first.start(stack)
    for node in others:
        invitation = _certedge(printer, first, "cluster", "invite", node.name)
        _certedge(printer, node, "cluster", "join", "-", given=invitation)
        node.start(stack)
    printer.say()


def _certedge(printer: Printer, node: Node, *words: str, given: bytes = b"") -> bytes:
    """A command on a node, as you type it. Raises EdgeFailed."""
    printer.say(f"{node.name}$ certedge {' '.join(words)}")
    ran = subprocess.run(
        [sys.executable, "-m", "edge_addon.cli", *words, "--config", "edge.yaml"],
        input=given,
        capture_output=True,
        check=False,
        cwd=node.folder,
    )
    if ran.returncode:
        raise EdgeFailed(f"{node.name}: certedge {' '.join(words)}: {ran.stderr.decode(errors='replace').strip()}")
    return ran.stdout


def _show(stage: Stage, printer: Printer) -> int:
    """One line for each step; returns how many failed."""
    failed = 0
    for title, step in _steps(stage):
        try:
            seen, has_passed = step(), True
        except (Wrong, EdgeFailed, OSError) as error:
            seen, has_passed = str(error) or type(error).__name__, False
        printer.line(title, seen, has_passed=has_passed)
        failed += not has_passed
    printer.say("\nAll steps passed." if not failed else f"\n{failed} steps FAILED.")
    return failed


def _steps(stage: Stage) -> list[tuple[str, Callable[[], str]]]:
    """In order: each builds on those before."""
    first, last = stage.nodes[0], stage.nodes[-1]
    second, third = (stage.authority.issue(host, now=utc_now()) for host in (SECOND, THIRD))

    def served_by_all() -> str:
        pair = Pair(b"", b"", first.shown(FIRST, stage.root_pem))
        stage.serving(FIRST, pair, stage.nodes)
        return f"all {len(stage.nodes)} nodes present it"

    def dropped() -> str:
        last.drop(SECOND, second)
        return f"all nodes served it {stage.serving(SECOND, second, stage.nodes)} after the drop"

    def without_engine() -> str:
        stage.engine.kill()
        stage.serving(SECOND, second, stage.nodes)
        return "every node still serves"

    def dropped_meanwhile() -> str:
        last.drop(THIRD, third)
        return f"{last.name} served it {stage.serving(THIRD, third, [last])} after the drop"

    def back() -> str:
        stage.engine.start()
        return f"all nodes served that drop {stage.serving(THIRD, third, stage.nodes)} after the engine was back"

    return [
        ("The cluster", stage.demand_in_step),
        (f"{FIRST}, dropped on {first.name} before there was a cluster", served_by_all),
        (f"A drop for {SECOND} on {last.name}", dropped),
        ("The engine is killed", without_engine),
        (f"Without it, a drop for {THIRD} on {last.name}", dropped_meanwhile),
        ("The engine is started again", back),
        ("The cluster", stage.demand_in_step),
    ]


def _serve(nodes: Sequence[Node]) -> None:
    """Wait for Ctrl-C, or the end of the first node."""
    edge = nodes[0].edge
    try:
        code = edge.wait() if edge is not None else 0
    except KeyboardInterrupt:
        return
    if code:
        raise EdgeFailed(f"{nodes[0].name} ended by itself with exit code {code}")


def _tell_how_to_try(stage: Stage, printer: Printer) -> None:
    certedge = Path(sys.executable).with_name("certedge")
    first, last = stage.nodes[0], stage.nodes[-1]
    site = "webmail.client-d.test"
    spare = stage.root_pem.with_name(f"{site}.pem")
    spare.write_bytes(stage.authority.issue(site, now=utc_now()).combined_pem)
    spare.chmod(0o600)
    drop_folder = last.layout.drop_folder(site)
    printer.say(f"""
Serving until you press Ctrl-C. Try it from another terminal:

  how the nodes stand       {certedge} --config {first.edge_yaml} cluster status
  drop on {last.name}            mkdir -p {drop_folder} && cp {spare} {drop_folder}/
  see it on {first.name}          {certedge} --config {first.edge_yaml} explain {site}
  get a page                curl --cacert {stage.root_pem} --resolve {site}:{first.ports["https"]}:127.0.0.1 https://{site}:{first.ports["https"]}/
""")
