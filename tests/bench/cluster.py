"""Three nodes over a real etcd of three members: joining, drops served by all, and what failures of the engine cost.

    python -m tests.bench.cluster [SITES] [--drops N] [--outage SECONDS] [--json FILE]      (default 10,000 sites)

Every line is one figure. Nodes are whole `certedge run`s and every time ends with a TLS handshake that shows the
certificate; all of them, the engine and the clients share this machine, so the figures are upper bounds. Stores and the
engine's files lie in memory where there is room.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from certstore.model.cluster.standing import ClusterStanding
from certstore.model.layout import Layout
from tests.bench.sites import first_start, lay_down
from tests.certificates import CertificateAuthority, make_key
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd, EtcdMember
from tests.running import RunningEdge, drop_certificate, running_edge, served_fingerprint, write_site

NODES = ("edge-a", "edge-b", "edge-c")
LONG = 3600.0
MEMORY_FOLDER = Path("/dev/shm")
SETTINGS = {
    "listeners": [{"kind": "https"}, {"kind": "http"}, {"kind": "health"}],
    "upstream": "http://127.0.0.1:1",
    "sweep_seconds": 3600,
}


@dataclass
class Node:
    """One `certedge run`."""

    name: str
    edge: RunningEdge

    @property
    def standing(self) -> ClusterStanding | None:
        try:
            facts = json.loads(Layout(self.edge.store).cluster_standing.read_bytes())
            return ClusterStanding.from_json(facts)
        except (OSError, ValueError):
            return None

    def serves(self, host: str, fingerprint: str) -> bool:
        return served_fingerprint(self.edge.port("https"), host) == fingerprint

    def command(self, *words: str, given: bytes = b"") -> bytes:
        program = [sys.executable, "-m", "edge_addon.cli", *words, "--config", str(self.edge.config)]
        ran = subprocess.run(program, input=given, capture_output=True, check=False)
        if ran.returncode not in (0, 3):
            raise AssertionError(f"{self.name}: {' '.join(words)}: {ran.stderr.decode()}")
        return ran.stdout

    def cpu_seconds(self) -> float:
        """Of all its processes, those that have ended too: the control that performs `join` is not the last one."""
        supervisor = psutil.Process(self.edge.pid)
        return sum(sum(process.cpu_times()[:4]) for process in [supervisor, *supervisor.children(recursive=True)])


@dataclass
class Figures:
    lines: list[tuple[str, str]] = field(default_factory=list)

    def say(self, name: str, value: str) -> None:
        self.lines.append((name, value))
        sys.stdout.write(f"{name:<78} {value}\n")
        sys.stdout.flush()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.say(name, f"{time.perf_counter() - began:.1f} s")


class Bench:
    def __init__(self, folder: Path, etcd: Etcd, sites: int, stack: ExitStack, figures: Figures) -> None:
        self.folder, self.etcd, self.sites, self.figures = folder, etcd, sites, figures
        self._stack = stack
        self._key = make_key()
        self.hosts = [f"webmail.client-{number}.test" for number in range(sites)]
        for name in NODES:
            (folder / name).mkdir()
        self.ca: CertificateAuthority = lay_down(folder / NODES[0] / "store", self.hosts)
        first_start(folder / NODES[0] / "store", sites)
        self.nodes = [self._node(NODES[0])]
        self._turn = 0

    def _node(self, name: str) -> Node:
        return Node(name, self._stack.enter_context(running_edge(self.folder / name, SETTINGS)))

    # Life

    def init(self) -> None:
        first = self.nodes[0]
        files = ["--ca-file", str(self.etcd.ca_file), "--client-cert", str(self.etcd.client_cert)]
        engine = [word for endpoint in self.etcd.endpoints for word in ("--engine", endpoint)]
        first.command("cluster", "init", "--node", first.name, *engine, *files)
        first.edge.reload()
        with self.figures.timed(f"init: {self.sites} sites published, from the start of the node"):
            self.wait_in_step()
        used = wait_for(self._used_bytes, "the engine's size")
        self.figures.say("the engine's database then", f"{used / 1e6:.0f} MB, {used / self.sites / 1000:.1f} KB a site")

    def _used_bytes(self) -> int:
        standing = self.nodes[0].standing
        return (standing.used_bytes or 0) if standing is not None else 0

    def join(self, name: str) -> None:
        node = self._node(name)
        began, before = time.perf_counter(), node.cpu_seconds()
        node.command("cluster", "join", "-", given=self.nodes[0].command("cluster", "invite", name))
        node.edge.reload()
        self.nodes.append(node)
        self.wait_in_step()
        seconds, cpu = time.perf_counter() - began, node.cpu_seconds() - before
        self.figures.say(f"join of {name}: {self.sites} sites in step", f"{seconds:.1f} s, {cpu:.1f} s of CPU")
        assert node.serves(self.hosts[-1], self.fingerprint_on_disk(self.hosts[-1]))

    def fingerprint_on_disk(self, host: str) -> str:
        return served_fingerprint(self.nodes[0].edge.port("https"), host)

    def wait_in_step(self) -> None:
        """Every node says of every node that it is in step, and nothing waits to be published."""

        def is_so() -> bool:
            standings = [node.standing for node in self.nodes]
            return all(
                standing is not None
                and standing.is_attached
                and not standing.unpublished
                and [each.name for each in standing.nodes] == [node.name for node in self.nodes]
                and all(each.state == "in_step" and each.sites == standing.nodes[0].sites for each in standing.nodes)
                and (standing.nodes[0].sites or 0) > self.sites
                for standing in standings
            )

        wait_for(is_so, "all nodes in step", seconds=LONG, pause=0.1)

    # Drops

    def drop(self, at: Node, host: str | None = None) -> tuple[str, str]:
        """A new certificate on one node: host and fingerprint."""
        if host is None:
            self._turn += 1
            host = self.hosts[self._turn * 37 % self.sites]
        issued = self.ca.issue(host, private_key=self._key)
        if Layout(at.edge.store).drop_folder(host).is_dir():
            drop_certificate(at.edge.store, host, issued)
        else:
            write_site(at.edge.store, host, issued)
        return host, issued.fingerprint

    def served_by_others(self, at: Node) -> list[float]:
        """A drop at this node: after how many seconds each other one serves it."""
        host, fingerprint = self.drop(at)
        began = time.perf_counter()
        waiting = [node for node in self.nodes if node is not at]
        times: list[float] = []
        while waiting:
            for node in list(waiting):
                if node.serves(host, fingerprint):
                    times.append(time.perf_counter() - began)
                    waiting.remove(node)
            if time.perf_counter() - began > 120:
                raise AssertionError(f"{host} was not served by {[node.name for node in waiting]} within 120 s")
        return times

    def drops(self, count: int) -> None:
        times = [t for number in range(count) for t in self.served_by_others(self.nodes[number % len(self.nodes)])]
        times.sort()
        at_99 = times[min(len(times) - 1, round(len(times) * 0.99))]
        median = statistics.median(times)
        self.figures.say(
            f"drop on one node to handshake on each other, {count} drops", f"median {median:.2f} s, p99 {at_99:.2f} s"
        )

    # Faults

    def faults(self) -> None:
        for what, harm, heal in (
            ("its leader is killed", EtcdMember.kill, EtcdMember.start),
            ("its leader is paused", EtcdMember.pause, EtcdMember.resume),
        ):
            leader = self.etcd.leader()
            with self.handshakes() as seen:
                harm(leader)
                times = [t for number in range(3) for t in self.served_by_others(self.nodes[number])]
                heal(leader)
            wait_for(lambda: len(self.etcd.endpoints_that_answer()) == 3, "three members again", seconds=120)
            self.figures.say(
                f"the same while the engine lives and {what}: the slowest",
                f"{max(times):.1f} s; {seen()} handshakes, none failed",
            )

    def outage(self, seconds: float) -> None:
        with self.handshakes() as seen:
            self.etcd.stop()
            began = time.perf_counter()
            local: list[float] = []
            dropped: list[tuple[str, str]] = []
            while time.perf_counter() - began < seconds:
                node = self.nodes[len(dropped) % len(self.nodes)]
                dropped.append(self.drop(node, f"outage-{len(dropped)}.test"))
                at = time.perf_counter()
                wait_for(lambda node=node: node.serves(*dropped[-1]), "a drop live on its own node")  # type: ignore[misc]
                local.append(time.perf_counter() - at)
                wait_for(lambda at=at: time.perf_counter() - at > seconds / 20, "time for the next", seconds=LONG)  # type: ignore[misc]
            self.etcd.start()
            began = time.perf_counter()
            for host, fingerprint in dropped:
                for node in self.nodes:
                    wait_for(lambda node=node, h=host, f=fingerprint: node.serves(h, f), f"{host}", seconds=120)  # type: ignore[misc]
            served = time.perf_counter() - began
            self.wait_in_step()
            in_step = time.perf_counter() - began
        self.figures.say(
            f"engine gone for {seconds:.0f} s, {len(dropped)} drops meanwhile: live on their node after",
            f"median {statistics.median(local):.2f} s",
        )
        self.figures.say("engine back: all of them served by all nodes after", f"{served:.1f} s")
        self.figures.say("engine back: all nodes say that they are in step after", f"{in_step:.1f} s")
        self.figures.say("handshakes from the engine's end to then", f"{seen()}, none failed")

    @contextmanager
    def handshakes(self) -> Iterator[Callable[[], int]]:
        """One after the other on all nodes meanwhile; a failed one raises at the end."""
        stop, counts = threading.Event(), [0]
        failures: list[str] = []

        def run() -> None:
            while not stop.wait(0.02):
                for node in self.nodes:
                    try:
                        served_fingerprint(node.edge.port("https"), self.hosts[0])
                        counts[0] += 1
                    except OSError as error:
                        failures.append(f"{node.name}: {error}")

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield lambda: counts[0]
        finally:
            stop.set()
            thread.join()
        assert not failures, failures[:3]


def measure(sites: int, *, drops: int, outage: float) -> Figures:
    figures = Figures()
    home = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bench-cluster-", dir=home) as folder, ExitStack() as stack:
        etcd = stack.enter_context(Etcd())
        bench = Bench(Path(folder), etcd, sites, stack, figures)
        bench.init()
        for name in NODES[1:]:
            bench.join(name)
        bench.drops(drops)
        bench.faults()
        if outage:
            bench.outage(outage)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", nargs="?", type=int, default=10_000)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--outage", type=float, default=60.0, metavar="SECONDS", help="0: leave it out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    figures = measure(options.sites, drops=options.drops, outage=options.outage)
    if options.json:
        options.json.write_text(json.dumps(dict(figures.lines), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
