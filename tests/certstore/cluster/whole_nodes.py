"""Whole nodes of a cluster with a real etcd and Pebble: each with a way of its own to the engine.

with whole_nodes(tmp_path, "edge-a", "edge-b") as stage:
    stage.wait_caretaker()
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certstore.model.layout import Layout
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd
from tests.peers.pebble import Pebble
from tests.peers.relay import Relay
from tests.running import RunningEdge, is_served_trusted, running_edge


@dataclass
class WholeNodes:
    """`http` is what Pebble asks: the node that answers stands behind it, as an address would be moved. `ways` lead to
    the engine, one for each node by its name.
    """

    nodes: list[RunningEdge]
    etcd: Etcd
    pebble: Pebble
    http: Relay
    ways: dict[str, Relay]
    paused: dict[str, int] = field(default_factory=dict)

    def served(self, host: str, *nodes: RunningEdge) -> bool:
        root = self.pebble.root()
        return all(is_served_trusted(node.port("https"), host, root) for node in nodes or self.nodes)

    def fingerprints(self, host: str) -> set[str]:
        """What the nodes serve for the name."""
        return {node.fingerprint("https", host) for node in self.nodes}

    def caretaker(self, *asked: RunningEdge) -> RunningEdge | None:
        """Of the nodes that say so, the one that the commands name."""
        for node in asked or self.nodes:
            status = certedge(node.folder, "cluster", "status", "--json")
            holders = [each["name"] for each in status.json.get("nodes", []) if each["is_caretaker"]]
            if holders:
                return next(each for each in self.nodes if each.folder.name == holders[0])
        return None

    def wait_caretaker(self) -> RunningEdge:
        holder = wait_for(self.caretaker, "one node has the duty", pause=0.2)
        assert holder is not None
        return holder

    def others(self, node: RunningEdge) -> list[RunningEdge]:
        return [each for each in self.nodes if each is not node]

    def wait_attached(self, node: RunningEdge) -> None:
        def is_attached() -> bool:
            return bool(certedge(node.folder, "status", "--json").json.get("cluster", {}).get("is_attached"))

        wait_for(is_attached, f"{node.folder.name} reaches the engine", pause=0.2)

    def certificates(self) -> int:
        """How many Pebble has issued."""
        return self.pebble.log.count("Issued certificate serial")

    # What happens to a node's control

    def disturb(self, node: RunningEdge, how: str) -> None:
        """`killed` (and started again by its supervisor), `paused`, or `cut off` from the engine."""
        if how == "cut off":
            self.ways[node.folder.name].hold_requests()
            return
        pid = node.control_pid()
        os.kill(pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "paused":
            self.paused[node.folder.name] = pid

    def heal(self, node: RunningEdge) -> None:
        """What was paused goes on, and what was held arrives."""
        self.ways[node.folder.name].release()
        if (pid := self.paused.pop(node.folder.name, 0)) != 0:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def whole_nodes(folder: Path, *names: str, **settings: Any) -> Iterator[WholeNodes]:
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd(1))
        http = stack.enter_context(Relay(0))
        pebble = stack.enter_context(Pebble(http.port))
        port = int(etcd.endpoints[0].rpartition(":")[2])
        ways = {name: stack.enter_context(Relay(port)) for name in names}
        whole = make_settings(pebble, 0) | {"listeners": [{"kind": "http"}, {"kind": "https"}]} | settings
        nodes = []
        for name in names:
            (folder / name).mkdir()
            nodes.append(stack.enter_context(running_edge(folder / name, whole)))
        _found(etcd, nodes, ways)
        http.target = nodes[0].port("http")
        running = WholeNodes(nodes, etcd, pebble, http, ways)
        try:
            yield running
        finally:
            for node in nodes:
                running.heal(node)
            http.release()


def _found(etcd: Etcd, nodes: list[RunningEdge], ways: dict[str, Relay]) -> None:
    first, *others = nodes
    files = ["--ca-file", str(etcd.ca_file), "--client-cert", str(etcd.client_cert)]
    engine = ["--engine", f"https://127.0.0.1:{ways[first.folder.name].port}", *files]
    ran = certedge(first.folder, "cluster", "init", "--node", first.folder.name, *engine)
    assert ran.code == 0, ran.err
    first.reload()
    for node in others:
        invited = certedge(first.folder, "cluster", "invite", node.folder.name)
        joined = certedge(node.folder, "cluster", "join", "-", given=invited.out.encode())
        assert joined.code == 0, joined.err
        text = node.config.read_text()
        mine = text.replace(f":{ways[first.folder.name].port}", f":{ways[node.folder.name].port}")
        assert mine != text
        node.config.write_text(mine)
        node.reload()


def orders_under_way(node: RunningEdge) -> list[Path]:
    return list(Layout(node.store).orders.glob("*.json"))
