"""What a second worker brings, on a machine whose two cores client and server share.

The load that a client sees would say how much the client takes. So the capacity is reckoned from CPU time, each worker
having a core: with one worker it is 1 / (CPU time per operation). With two, new connections go to whichever has time,
so handshakes are limited by what both spend together; kept connections stay where they are, so requests are limited by
the worker that has more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench import accounting
from tests.bench.bench import Bench
from tests.bench.clients import Load, LoadFailed, s_time, wrk
from tests.bench.figures import EDGE, SPEEDUP_HANDSHAKE, SPEEDUP_KEEP_ALIVE, Figure
from tests.bench.measurements.in_turn import check_answers
from tests.bench.peers import Peer, Server, all_peers
from tests.bench.upstream import SMALL

CONNECTIONS = 128
"""Few connections that come at once may all find the same worker first."""

Reckoning = Callable[[Sequence[float], int], float]
"""Core seconds that one operation keeps a server busy, from its processes' CPU time and the number of its workers."""


def together(costs: Sequence[float], workers: int) -> float:
    return sum(costs) / workers


def busiest(costs: Sequence[float], _workers: int) -> float:
    return max(costs)


def measure(bench: Bench) -> None:
    seconds = bench.size.seconds
    loads: dict[Figure, tuple[Reckoning, Callable[[Server], Load]]] = {
        SPEEDUP_HANDSHAKE: (together, lambda server: s_time(server.port, seconds, processes=4)),
        SPEEDUP_KEEP_ALIVE: (busiest, lambda server: wrk(server.port, SMALL, seconds, connections=CONNECTIONS)),
    }
    peers = _compared(bench.peers)
    # A service writes its store alone, so two of them have one each.
    others = [
        peer for peer in _compared(all_peers(bench.root / "second")) if peer.name in {each.name for each in peers}
    ]
    with bench.serving(workers=1, peers=peers) as single, bench.serving(workers=2, peers=others) as double:
        for server in (*single, *double):
            check_answers(server)
        for figure, (reckoning, load) in loads.items():
            for one, two in zip(single, double, strict=True):
                _compare(bench, figure, reckoning, load, one, two)


def _compared(peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.name in (EDGE, "nginx")]


def _compare(
    bench: Bench, figure: Figure, reckoning: Reckoning, load: Callable[[Server], Load], one: Server, two: Server
) -> None:
    name = one.peer.name
    try:
        if bench.size.warms_up:
            for server in (one, two):
                load(server)
        for _ in range(bench.size.rounds):
            value = reckoning(_costs(one, load), 1) / reckoning(_costs(two, load), 2)
            bench.results.add(figure, name, value)
            bench.say(f"{figure.title}: {name} {value:.2f} ×")
    except LoadFailed as error:
        bench.results.note(figure, name, "failed")
        bench.say(f"{name}: {figure.title}: {error}")


def _costs(server: Server, load: Callable[[Server], Load]) -> list[float]:
    """CPU seconds per operation of each process."""
    pids = server.pids()
    accounting.settled_cpu_seconds(pids)
    before = {pid: accounting.cpu_seconds([pid]) for pid in pids}
    operations = load(server).operations
    accounting.settled_cpu_seconds(pids)
    return [(accounting.cpu_seconds([pid]) - before[pid]) / operations for pid in pids]
