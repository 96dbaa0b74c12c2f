"""Two whole nodes, a real etcd and Pebble: one node orders for both, and when it is away the other one does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd
from tests.peers.pebble import Pebble
from tests.peers.relay import Relay
from tests.running import RunningEdge, is_served_trusted, running_edge

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@dataclass
class Stage:
    """`http` is what Pebble asks: the node that orders stands behind it, as an address would be moved."""

    nodes: list[RunningEdge]
    pebble: Pebble
    http: Relay

    def served(self, host: str, *nodes: RunningEdge) -> bool:
        root = self.pebble.root()
        return all(is_served_trusted(node.port("https"), host, root) for node in nodes or self.nodes)

    def caretaker(self, *asked: RunningEdge) -> RunningEdge | None:
        """Of the nodes that say so, the one that the commands name."""
        for node in asked or self.nodes:
            status = certedge(node.folder, "cluster", "status", "--json")
            holders = [each["name"] for each in status.json.get("nodes", []) if each["is_caretaker"]]
            if holders:
                return next(each for each in self.nodes if each.folder.name == holders[0])
        return None


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd(1))
        http = stack.enter_context(Relay(0))
        pebble = stack.enter_context(Pebble(http.port))
        settings = make_settings(pebble, 0) | {"listeners": [{"kind": "http"}, {"kind": "https"}]}
        nodes = []
        for name in ("edge-a", "edge-b"):
            (tmp_path / name).mkdir()
            nodes.append(stack.enter_context(running_edge(tmp_path / name, settings)))
        found(etcd, nodes)
        yield Stage(nodes, pebble, http)


def found(etcd: Etcd, nodes: list[RunningEdge]) -> None:
    first, second = nodes
    files = ["--ca-file", str(etcd.ca_file), "--client-cert", str(etcd.client_cert)]
    engine = ["--engine", etcd.endpoints[0], *files]
    ran = certedge(first.folder, "cluster", "init", "--node", "edge-a", *engine)
    assert ran.code == 0, ran.err
    first.reload()
    invited = certedge(first.folder, "cluster", "invite", "edge-b")
    joined = certedge(second.folder, "cluster", "join", "-", given=invited.out.encode())
    assert joined.code == 0, joined.err
    second.reload()


def test_one_node_orders_for_both_and_another_takes_over_from_one_that_is_paused(stage: Stage) -> None:
    holder = wait_for(stage.caretaker, "one node has the duty", pause=0.2)
    assert holder is not None
    other = next(node for node in stage.nodes if node is not holder)
    stage.http.target = holder.port("http")
    assert certedge(other.folder, "site", "add", "a.test", "--certificate", "acme").code == 0
    wait_for(lambda: stage.served("a.test"), "both serve what one of them ordered", pause=0.2)
    assert stage.pebble.orders() == 1
    assert stage.pebble.accounts() == 1

    stage.http.target = other.port("http")
    paused = holder.control_pid()
    os.kill(paused, signal.SIGSTOP)
    try:
        assert certedge(other.folder, "site", "add", "b.test", "--certificate", "acme").code == 0
        wait_for(lambda: stage.served("b.test", other), "the other one orders", pause=0.2)
        assert stage.caretaker(other) is other
    finally:
        os.kill(paused, signal.SIGCONT)
    wait_for(lambda: stage.served("b.test"), "the one that wakes follows", pause=0.2)
    assert stage.caretaker(holder) is other
    assert stage.pebble.orders() == 2
    assert stage.pebble.accounts() == 1
    assert "this node no longer renews certificates" in holder.stderr


def test_the_ca_may_ask_a_node_that_did_not_order(stage: Stage) -> None:
    """A name has the addresses of several edges, and the CA takes any of them."""
    holder = wait_for(stage.caretaker, "one node has the duty", pause=0.2)
    assert holder is not None
    other = next(node for node in stage.nodes if node is not holder)
    stage.http.target = other.port("http")
    assert certedge(holder.folder, "site", "add", "a.test", "--certificate", "acme").code == 0
    wait_for(lambda: stage.served("a.test"), "the other one answered the challenge", pause=0.2)
    assert stage.pebble.orders() == 1
    assert stage.pebble.accounts() == 1, "all nodes have the same"
    for node in stage.nodes:
        challenges = Layout(node.store).challenges
        wait_for(lambda folder=challenges: not list(folder.iterdir()), "no token is left")  # type: ignore[misc]
