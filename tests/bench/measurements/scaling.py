"""What a second worker brings, on a machine whose two cores client and server share.

The load that a client sees would say how much the client takes. So the capacity is reckoned: a server can do as many
operations a second as its busiest worker has CPU time for, if each worker has a core. With one worker that is
1 / (CPU time per operation); with two it is operations / (CPU time of the busier one), which counts what they cost each
other and how unevenly the kernel shares connections out.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.bench import accounting
from tests.bench.bench import Bench
from tests.bench.clients import Load, LoadFailed, s_time, wrk
from tests.bench.figures import EDGE, SPEEDUP_HANDSHAKE, SPEEDUP_KEEP_ALIVE, Figure
from tests.bench.measurements.in_turn import check_answers
from tests.bench.peers import Server
from tests.bench.upstream import SMALL

CONNECTIONS = 64


def measure(bench: Bench) -> None:
    seconds = bench.size.seconds
    loads: dict[Figure, Callable[[Server], Load]] = {
        SPEEDUP_HANDSHAKE: lambda server: s_time(server.port, seconds, processes=4),
        SPEEDUP_KEEP_ALIVE: lambda server: wrk(server.port, SMALL, seconds, connections=CONNECTIONS),
    }
    peers = [peer for peer in bench.peers if peer.name in (EDGE, "nginx")]
    with bench.serving(workers=1, peers=peers) as single, bench.serving(workers=2, peers=peers) as double:
        for server in (*single, *double):
            check_answers(server)
        for figure, load in loads.items():
            for one, two in zip(single, double, strict=True):
                _compare(bench, figure, load, one, two)


def _compare(bench: Bench, figure: Figure, load: Callable[[Server], Load], one: Server, two: Server) -> None:
    name = one.peer.name
    try:
        if bench.size.warms_up:
            for server in (one, two):
                load(server)
        for _ in range(bench.size.rounds):
            value = busiest(one, load) / busiest(two, load)
            bench.results.add(figure, name, value)
            bench.say(f"{figure.title}: {name} {value:.2f} ×")
    except LoadFailed as error:
        bench.results.note(figure, name, "failed")
        bench.say(f"{name}: {figure.title}: {error}")


def busiest(server: Server, load: Callable[[Server], Load]) -> float:
    """CPU seconds per operation of the process that had most to do."""
    pids = server.pids()
    accounting.settled_cpu_seconds(pids)
    before = {pid: accounting.cpu_seconds([pid]) for pid in pids}
    operations = load(server).operations
    accounting.settled_cpu_seconds(pids)
    return max(accounting.cpu_seconds([pid]) - before[pid] for pid in pids) / operations
