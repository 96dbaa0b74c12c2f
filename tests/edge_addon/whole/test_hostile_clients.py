"""Five hundred hostile connections of one address, and what a client of another address notices of them.

All figures are ratios within one run, of medians, and small ones count as a floor: the machine may be slow or shared.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
import pytest

from certstore.model.layout import Layout
from edge_addon.mail.commands import parse_tagged_command
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.edge_addon.whole import hostile
from tests.peers.connection_login import authenticating
from tests.peers.recorder import Connection, Recorder, ok
from tests.running import RunningEdge, Site, running_edge

CA = CertificateAuthority()
MB = 2**20
SAMPLES = 25
ROUNDS = 2
RATIO = 2.0
FLOOR_SECONDS = 0.01
"""What counts as quick anyway: below, a ratio tells of the machine's other work."""
MOST_MEMORY = 120 * MB
"""What the attack may take at most: a quarter of a megabyte for each connection."""
KEPT_MEMORY = 24 * MB
"""What a further attack may add to what the first one has left: caches and the allocator."""
BITTEN = {"upstream_connections_per_address_exceeded", "upstream_waits", "http2_early_data"}
"""Bounds that the attack reaches."""


async def serve(connection: Connection) -> None:
    """A web server with logins of connections, a page that never comes and a large one."""
    login = authenticating()
    while True:
        head = await connection.read_head()
        if b" /slow " in head:
            await connection.read_to_end()
            return
        if b" /large " in head:
            await connection.write(ok(bytes(MB)))
        elif b" /public " in head:
            await connection.write(ok(b"public"))
        else:
            connection.unread(head)
            await login(connection)


@dataclass
class Figures:
    """Seconds, of every handshake and request."""

    handshakes: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)

    def measure(self, port: int) -> None:
        context = ssl.create_default_context(cadata=CA.root_pem.decode())
        for _ in range(SAMPLES):
            started = time.perf_counter()
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60, source_address=("127.0.0.2", 0)) as plain,
                context.wrap_socket(plain, server_hostname="edge.test") as secure,
            ):
                self.handshakes.append(time.perf_counter() - started)
                started = time.perf_counter()
                secure.sendall(b"GET /public HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                answer = b""
                while not answer.endswith(b"\r\n\r\npublic"):
                    answer += secure.recv(65536)
                    assert answer.startswith(b"HTTP/1.1 200 "[: len(answer)]), answer
                self.requests.append(time.perf_counter() - started)


def ratio(attacked: list[float], quiet: list[float]) -> float:
    return max(median(attacked), FLOOR_SECONDS) / max(median(quiet), FLOOR_SECONDS)


class Attacker:
    """The hostile process: attacks while `attacking`."""

    def __init__(self, ground: hostile.Ground) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._wanted, self._under_way, self._over = spawn.Event(), spawn.Event(), spawn.Event()
        arguments = (ground, self._wanted, self._under_way, self._over)
        self._process = spawn.Process(target=hostile.run, args=arguments, daemon=True)
        self._process.start()

    @contextmanager
    def attacking(self) -> Iterator[None]:
        self._wanted.set()
        assert self._under_way.wait(120), "the attack did not get under way"
        try:
            yield
        finally:
            self._wanted.clear()
            wait_for(lambda: not self._under_way.is_set(), "the end of the attack")

    def end(self) -> None:
        self._over.set()
        self._process.join(30)


def is_linear_in_mail() -> bool:
    """Whether blanks in a mail command cost no more than their bytes."""
    started = time.process_time()
    parse_tagged_command(hostile.BLANKS)
    return time.process_time() - started < 0.05


def settle(worker: psutil.Process, edge: RunningEdge) -> int:
    """The worker's memory once the attack's connections are gone."""

    def is_alone() -> bool:
        ports = {port for kind in ("https", "imap") for port in [edge.port(kind)]}
        return not any(each.laddr.port in ports and each.raddr for each in worker.net_connections("tcp"))

    wait_for(is_alone, "the end of the hostile connections")
    return int(worker.memory_info().rss)


def counted(edge: RunningEdge, pid: int) -> set[str]:
    """The causes that the worker has counted, by its last report."""
    facts = json.loads(Layout(edge.store).worker_report(pid).read_text(encoding="utf-8"))
    return {labels[0] for name, labels, *_ in facts["samples"] if name == "certedge_events_total"}


@pytest.mark.slow
def test_500_hostile_connections_of_one_address_are_not_noticed_at_another(tmp_path: Path) -> None:
    settings = {
        "listeners": [{"kind": "https"}, {"kind": "imap", "upstream": "127.0.0.1:9"}],
        "limits": {"head_seconds": 10},
    }
    sites: dict[str, Issued | Site] = {
        "main": CA.issue("edge.test"),
        "a.test": Site(CA.issue("a.test"), {"inspect": True}),
    }
    with Recorder(serve) as recorder, running_edge(tmp_path, settings | {"upstream": recorder.url}, sites) as edge:
        (pid,) = edge.worker_pids()
        worker = psutil.Process(pid)
        quiet, attacked = Figures(), Figures()
        quiet.measure(edge.port("https"))
        before = worker.memory_info().rss
        during: list[int] = []
        after: list[int] = []
        attacker = Attacker(hostile.Ground(edge.port("https"), edge.port("imap") if is_linear_in_mail() else None))
        try:
            for _ in range(ROUNDS):
                with attacker.attacking():
                    attacked.measure(edge.port("https"))
                    during.append(worker.memory_info().rss)
                after.append(settle(worker, edge))
                quiet.measure(edge.port("https"))
        finally:
            attacker.end()

        assert edge.worker_pids() == [pid]
        wait_for(lambda: counted(edge, pid) >= BITTEN, f"{BITTEN} in the worker's report")
        assert max(during) - before < MOST_MEMORY, (before, during)
        assert after[-1] - after[0] < KEPT_MEMORY, (before, during, after)
        ratios = ratio(attacked.handshakes, quiet.handshakes), ratio(attacked.requests, quiet.requests)
        medians = [f"{median(each) * 1000:.1f} ms" for each in (*vars(quiet).values(), *vars(attacked).values())]
        assert max(ratios) <= RATIO, (ratios, medians)
