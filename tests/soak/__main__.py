"""Runs the soak: starts the edge and the servers behind it, disturbs it, watches its memory, prints the results."""

# ruff: noqa: T201  it prints: that is what it is for

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import sys
import tempfile
import time
from pathlib import Path

from tests.certificates import CertificateAuthority
from tests.edge_addon.clients import peer_ports
from tests.peers.dovecot import PASSWORD, USER, running_dovecot
from tests.ports import listening_socket
from tests.running import RunningEdge, drop_certificate, running_edge
from tests.soak.clients import VISITS, Ground, keep_going
from tests.soak.upstream import Upstream

CA = CertificateAuthority()
SITES = ("a.test", "b.test", "c.test")
WARM_UP = 0.25
"""The part of the run after which memory should no longer grow."""
GROWTH = 1.25
"""How much larger a worker may be at the end than after its warm-up; allocators vary."""


def trust(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def resident(pid: int) -> int:
    """Bytes of a process's private memory; memory shared by fork does not count."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Private_Dirty")


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Soak:
    """One run: `seconds` of load, then the counts."""

    def __init__(self, edge: RunningEdge, ground: Ground, upstream: Upstream, seconds: float) -> None:
        self._edge = edge
        self._ground = ground
        self._upstream = upstream
        self._seconds = seconds
        self._begun = time.monotonic()
        self.kills = 0
        self.drops = 0
        self.sizes: dict[int, list[tuple[float, int, int]]] = {}
        """Per worker: seconds since the start, bytes of memory, descriptors."""

    async def run(self) -> None:
        clients = [
            asyncio.create_task(keep_going(self._ground, kind, go))
            for kind, (go, count) in VISITS.items()
            for _ in range(count)
        ]
        disturbers = [
            asyncio.create_task(each)
            for each in (self._drop_certificates(), self._restart_upstream(), self._kill_workers(), self._watch())
        ]
        await asyncio.sleep(self._seconds)
        self._ground.stopping.set()
        for task in disturbers:
            task.cancel()
        for result in await asyncio.gather(*disturbers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await asyncio.gather(*clients)
        self._note_sizes()

    async def _drop_certificates(self) -> None:
        while True:
            drop_certificate(self._edge.store, SITES[self.drops % len(SITES)], CA.issue(SITES[self.drops % len(SITES)]))
            self.drops += 1
            await asyncio.sleep(1)

    async def _restart_upstream(self) -> None:
        while True:
            await asyncio.sleep(17)
            await self._upstream.restart()

    async def _kill_workers(self) -> None:
        while True:
            await asyncio.sleep(60)
            victim = self._edge.worker_pids()[0]
            os.kill(victim, signal.SIGSTOP)  # so that nothing is accepted between the check and the kill
            self._ground.doomed_ports |= peer_ports(victim)
            os.kill(victim, signal.SIGKILL)
            self.kills += 1

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(5)
            self._note_sizes()
            left = self._seconds - (time.monotonic() - self._begun)
            if sys.stderr.isatty():
                print(f"\r{left:5.0f} s left, {sum(self._ground.done.values())} done ", end="", file=sys.stderr)

    def _note_sizes(self) -> None:
        for pid in [*self._edge.worker_pids(), self._edge.control_pid()]:
            try:
                size = (time.monotonic() - self._begun, resident(pid), descriptors(pid))
            except (OSError, ValueError):
                continue  # killed at this moment
            self.sizes.setdefault(pid, []).append(size)

    def growth(self) -> list[str]:
        """For each process that lived for most of the run: whether it grew after its warm-up."""
        found = []
        for pid, sizes in self.sizes.items():
            warm = [size for at, size, _ in sizes if at - sizes[0][0] >= WARM_UP * self._seconds]
            if len(warm) >= 4 and warm[-1] > GROWTH * max(warm[: max(1, len(warm) // 3)]) + (4 << 20):
                found.append(f"process {pid} grew from {warm[0] >> 20} to {warm[-1] >> 20} MB")
        return found

    def report(self) -> int:
        """Print the counts; 1 if anything was lost or grew."""
        ground = self._ground
        print(
            f"{self._seconds:.0f} s: {self.drops} drops, {self.kills} workers killed, "
            f"{self._upstream.restarts} restarts of the web server"
        )
        print(f"{'':16}{'done':>10}{'lost with a killed worker':>28}{'lost':>8}")
        for kind in sorted({*ground.done, *ground.excused, *ground.lost}):
            print(f"{kind:16}{ground.done[kind]:>10}{ground.excused[kind]:>28}{ground.lost[kind]:>8}")
        for pid, sizes in self.sizes.items():
            first, last, most = sizes[0], sizes[-1], max(count for _, _, count in sizes)
            print(
                f"process {pid}: {last[0] - first[0]:.0f} s watched, {first[1] >> 20} → {last[1] >> 20} MB of its own, "
                f"at most {most} descriptors, {last[2]} at the end"
            )
        problems = [*ground.faults[:20], *self.growth()]
        for problem in problems:
            print("✘", problem)
        print("nothing was lost, nothing grew" if not problems else f"{len(problems)} problems")
        return 1 if problems else 0


async def soak(edge: RunningEdge, ground: Ground, upstream: Upstream, seconds: float) -> int:
    await upstream.start()
    run = Soak(edge, ground, upstream, seconds)
    await run.run()
    return run.report()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        listening_socket() as behind,
        running_dovecot(CA.issue("imap.test")) as dovecot,
    ):
        settings = {
            "workers": 2,
            "upstream": f"http://127.0.0.1:{behind.getsockname()[1]}",
            "listeners": [
                {"kind": "https"},
                {"kind": "imaps", "upstream": f"127.0.0.1:{dovecot.ports.imap}", "proxy_protocol": "v2"},
            ],
        }
        sites = {"main": CA.issue("edge.test"), **{site: CA.issue(site) for site in SITES}}
        with running_edge(Path(folder), settings, sites) as edge:
            login = f"{USER} {PASSWORD}".encode()
            ground = Ground(edge.port("https"), edge.port("imaps"), trust(), trust("h2"), SITES, login)
            return asyncio.run(soak(edge, ground, Upstream(behind), minutes * 60))


if __name__ == "__main__":
    sys.exit(main())
