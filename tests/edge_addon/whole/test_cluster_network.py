"""Three machines in network namespaces, each with a node and a member of the engine: what a cut network costs.

Clients of each machine shake hands all the time, and none may fail or be shown a wrong certificate.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.edge_addon.whole.test_cluster import FIRST, SECOND, THIRD, certedge, found, join, standing
from tests.peers.etcd import Etcd
from tests.peers.machines import Machine, Network
from tests.running import RunningEdge, running_edge, served_fingerprint, write_site

NAMES = ("edge-a", "edge-b", "edge-c")
SECONDS = 120.0


class Node:
    def __init__(self, machine: Machine, edge: RunningEdge) -> None:
        self.machine, self.edge, self.name = machine, edge, machine.name

    def served(self, site: str) -> str:
        """What a client on this machine is shown."""
        return self.machine.do(served_fingerprint, self.edge.port("https"), site, host=self.machine.address)

    def drop(self, site: str, issued: Issued) -> None:
        write_site(self.edge.store, site, issued)

    @property
    def is_in_step(self) -> bool:
        printed = self.machine.do(certedge, self.edge, "cluster", "status", "--json", codes=(0, 1, 3))
        nodes = json.loads(printed or '{"nodes": []}')["nodes"]
        return [(node["name"], node["state"]) for node in nodes] == [(name, "in_step") for name in NAMES]


class Clients:
    """One on each machine, which asks for FIRST again and again."""

    def __init__(self, nodes: list[Node], issued: Issued) -> None:
        self._ends, self._expected, self.handshakes, self.faults = threading.Event(), issued.fingerprint, 0, list[str]()
        self._running = [node.machine.begin(self._ask, node) for node in nodes]

    def _ask(self, node: Node) -> None:
        while not self._ends.wait(0.02):
            try:
                shown = served_fingerprint(node.edge.port("https"), FIRST, host=node.machine.address)
            except OSError as error:
                shown = str(error)
            self.handshakes += 1
            if shown != self._expected:
                self.faults.append(f"{node.name}: {shown}")

    def end(self) -> None:
        self._ends.set()
        for each in self._running:
            each.result()


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(*NAMES) as network:
        yield network


@pytest.fixture
def etcd(network: Network) -> Iterator[Etcd]:
    etcd = Etcd(machines=list(network))
    with contextlib.ExitStack() as stack:
        first = network["edge-a"]
        first.do(etcd.__enter__)
        stack.push(lambda *error: first.do(etcd.__exit__, *error))
        yield etcd


@pytest.fixture
def nodes(tmp_path: Path, network: Network, etcd: Etcd, ca: CertificateAuthority) -> Iterator[list[Node]]:
    """A cluster of three, made with the commands that an administrator uses."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for machine in network:
            folder = tmp_path / machine.name
            folder.mkdir()
            listeners = [{"kind": "http", "listen": machine.address}, {"kind": "https", "listen": machine.address}]
            edge = machine.do(stack.enter_context, running_edge(folder, {"listeners": listeners}))
            nodes.append(Node(machine, edge))
        nodes[0].machine.do(found, nodes[0].edge, etcd)
        for node in nodes[1:]:
            node.machine.do(join, node.edge, nodes[0].edge)
            node.edge.reload()
        yield nodes


def wait_in_step(nodes: list[Node]) -> None:
    wait_for(lambda: all(node.is_in_step for node in nodes), "all nodes are in step", seconds=SECONDS, pause=0.5)


def wait_served(nodes: list[Node], site: str, issued: Issued) -> None:
    for node in nodes:
        wait_for(
            lambda node=node: node.served(site) == issued.fingerprint,  # type: ignore[misc]
            f"{node.name} serves the new certificate of {site}\n{node.edge.stderr}",
            seconds=SECONDS,
        )


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_cut_network_fails_no_handshake_and_loses_no_drop(
    nodes: list[Node], etcd: Etcd, ca: CertificateAuthority
) -> None:
    first = ca.issue(FIRST)
    nodes[0].drop(FIRST, first)
    wait_served(nodes, FIRST, first)
    wait_in_step(nodes)
    clients = Clients(nodes, first)
    try:
        leader = nodes[0].machine.do(etcd.leader)
        alone = next(node for node in nodes if node.machine.address in leader.endpoint)
        others = [node for node in nodes if node is not alone]

        # The machine with the engine's leader is cut off: two are a majority, one goes on by itself.
        alone.machine.cut()
        of_two, of_one = ca.issue(SECOND), ca.issue(THIRD)
        others[0].drop(SECOND, of_two)
        wait_served(others, SECOND, of_two)
        alone.drop(THIRD, of_one)
        wait_served([alone], THIRD, of_one)
        assert alone.served(SECOND) != of_two.fingerprint
        assert others[0].served(THIRD) != of_one.fingerprint
        wait_for(lambda: not standing(alone.edge)["is_attached"], "it says so", seconds=SECONDS, pause=0.5)
        wait_for(
            lambda: standing(others[0].edge)["line"] == f"3 nodes, {alone.name} gone", "and so do the others", pause=0.5
        )
        alone.machine.heal()
        wait_served(nodes, SECOND, of_two)
        wait_served(nodes, THIRD, of_one)

        # Each machine by itself: no majority anywhere, and every drop is live where it fell.
        for node in nodes:
            node.machine.cut()
        dropped = {node.name: ca.issue(f"{node.name}.test") for node in nodes}
        for node in nodes:
            node.drop(f"{node.name}.test", dropped[node.name])
            wait_served([node], f"{node.name}.test", dropped[node.name])
        for node in nodes:
            node.machine.heal()
        for name, issued in dropped.items():
            wait_served(nodes, f"{name}.test", issued)
        wait_in_step(nodes)
    finally:
        clients.end()
    assert not clients.faults
    assert clients.handshakes > 100
    nodes[0].machine.do(certedge, nodes[0].edge, "verify", "--nodes")  # it reaches the others at their addresses
