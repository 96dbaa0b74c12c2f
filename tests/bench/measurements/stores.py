"""Stores of 1 to 50,000 sites: start, memory, handshakes with random names, and one certificate replaced under way."""

from __future__ import annotations

import random
import time

from tests.bench import accounting, clients
from tests.bench.bench import Bench
from tests.bench.clients import held_connections, still_answered
from tests.bench.figures import DROP, LOST, RANDOM_NAMES, SITE_MEMORY, SITE_MEMORY_WORKER, START, START_CPU, Figure
from tests.bench.material import MAIN_HOST
from tests.bench.peers import NotServing, Peer, Server
from tests.bench.peers.base import UNSEEN_SECONDS
from tests.bench.upstream import SMALL

DROP_SECONDS = 120.0
AFTERMATH_SECONDS = 0.5
"""A server that reloads closes its kept connections a moment after it serves the new certificate."""


def measure(bench: Bench) -> None:
    bases: dict[str, tuple[float, float]] = {}
    too_slow: set[str] = set()
    for size in bench.size.stores:
        bench.say(f"making {size:,} sites")
        bench.sites.grow_to(size)
        for peer in bench.peers:
            if peer.name in too_slow:
                bench.results.note(START.at(size), peer.name, "not tried")
                continue
            began = time.monotonic()
            peer.prepare(bench.sites)
            if (seconds := time.monotonic() - began) > 1:
                bench.say(f"{peer.name}: {size:,} sites taken in before the first start: {seconds:.0f} s")
            try:
                _measure(bench, peer, size, bases)
            except (NotServing, OSError) as error:
                bench.say(f"{peer.name}: {size:,} sites: {error}")
                if bench.results.median(START.at(size), peer.name) is None:
                    too_slow.add(peer.name)
                    note = f"> {bench.size.start_seconds:.0f} s" if "within" in str(error) else "failed"
                    bench.results.note(START.at(size), peer.name, note)


def _measure(bench: Bench, peer: Peer, size: int, bases: dict[str, tuple[float, float]]) -> None:
    host = bench.sites.hosts[-1]
    for left in range(bench.size.starts - 1, -1, -1):
        with bench.start(peer) as server:
            seconds = server.wait_serving(host, peer.expected(bench.sites, host), bench.size.start_seconds)
            spent = accounting.cpu_seconds(server.pids())
            _add(bench, START.at(size), peer, seconds)
            _add(bench, START_CPU.at(size), peer, spent)
            if seconds > 5 or not left:
                # A slow start is not repeated: its length is what matters, not its last digit.
                _measure_running(bench, server, size, bases)
                return


def _measure_running(bench: Bench, server: Server, size: int, bases: dict[str, tuple[float, float]]) -> None:
    peer = server.peer
    accounting.wait_until_started(server.pids())
    memory = (accounting.pss_kilobytes(server.pids()), accounting.pss_kilobytes(peer.data_plane(server)))
    base = bases.setdefault(peer.name, memory)
    if size > 1:
        _add(bench, SITE_MEMORY.at(size), peer, (memory[0] - base[0]) / (size - 1))
        _add(bench, SITE_MEMORY_WORKER.at(size), peer, (memory[1] - base[1]) / (size - 1))
    _random_names(bench, server, size)
    _replace(bench, server, size)


def _random_names(bench: Bench, server: Server, size: int) -> None:
    """Every handshake is checked to show the certificate of its name."""
    peer = server.peer
    draw = random.Random(size)
    count = max(bench.size.random_handshakes // (5 if peer.is_slow else 1), 2)
    hosts = [draw.choice(bench.sites.hosts) for _ in range(count)]
    before = server.cpu_seconds()
    wrong = sum(clients.served(server.port, host) != peer.expected(bench.sites, host) for host in hosts)
    value = (server.cpu_seconds() - before) / count * 1e6
    _add(bench, RANDOM_NAMES.at(size), peer, value)
    if wrong:
        bench.results.note(RANDOM_NAMES.at(size), peer.name, f"{wrong} of {count} wrong")


def _replace(bench: Bench, server: Server, size: int) -> None:
    """Replace a site's certificate while 200 connections are open; a peer that does not see it is told to look."""
    peer = server.peer
    lost = 0
    for number in range(bench.size.drops):
        host = bench.sites.hosts[(size // 2 + number) % size]
        with held_connections(server.port, MAIN_HOST, SMALL, bench.size.held_connections) as held:
            seconds = _replace_once(bench, server, size, host)
            if seconds is None:
                return
            time.sleep(AFTERMATH_SECONDS)
            lost = max(lost, len(held) - still_answered(held, MAIN_HOST, SMALL))
        _add(bench, DROP.at(size), peer, seconds)
        if seconds > 1:
            break
    _add(bench, LOST.at(size), peer, lost)
    if clients.served(server.port, None) != bench.sites.main.fingerprint:
        bench.results.note(DROP.at(size), peer.name, "another site's certificate changed too")


def _replace_once(bench: Bench, server: Server, size: int, host: str) -> float | None:
    peer, sites = server.peer, bench.sites
    issued = sites.issue(host)
    began = time.perf_counter()
    peer.put(server.setting, host, issued)
    if not peer.sees_drops:
        if _is_seen(server, host, issued.fingerprint):
            return time.perf_counter() - began
        bench.results.note(DROP.at(size), peer.name, f"file not seen; {peer.refresh_way or 'needs a restart'}")
        if not peer.refresh_way:
            return None
        began = time.perf_counter()
        peer.refresh(server, host)
    server.wait_certificate(host, issued.fingerprint, DROP_SECONDS)
    return time.perf_counter() - began


def _is_seen(server: Server, host: str, fingerprint: str) -> bool:
    try:
        server.wait_certificate(host, fingerprint, UNSEEN_SECONDS)
    except NotServing:
        return False
    return True


def _add(bench: Bench, figure: Figure, peer: Peer, value: float) -> None:
    bench.results.add(figure, peer.name, value)
    size = figure.key.partition("@")[2]
    bench.say(f"{int(size):,} sites: {figure.title}: {peer.name} {value:,.{figure.digits}f} {figure.unit}")
