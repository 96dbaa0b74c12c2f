"""CPU time per operation, every server once per round and all in the same round: A B C, A B C."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.bench.bench import Bench
from tests.bench.clients import Load, LoadFailed, connect, get, s_time
from tests.bench.figures import Figure
from tests.bench.material import MAIN_HOST
from tests.bench.peers import Server
from tests.bench.upstream import SMALL, SMALL_BYTES


def measure_in_turn(
    bench: Bench, loads: Mapping[Figure, Callable[[Server], Load]], *, scales: Mapping[Figure, float] | None = None
) -> None:
    """Start all servers, see each answer rightly, warm each up, then measure figure by figure."""
    with bench.serving() as servers:
        for server in servers:
            check_answers(server)
            if bench.size.warms_up:
                _warm_up(bench, server)
        for figure, load in loads.items():
            for _ in range(bench.size.rounds):
                for server in servers:
                    bench.cpu_per_operation(figure, server, load, scale=(scales or {}).get(figure, 1e6))


def _warm_up(bench: Bench, server: Server) -> None:
    try:
        s_time(server.port, 1, path=SMALL)
    except LoadFailed as error:
        bench.say(f"{server.peer.name}: warming up: {error}")


def check_answers(server: Server) -> None:
    """The page of the upstream, whole, through this server. Raises OSError."""
    with connect(server.port, MAIN_HOST) as secure:
        if get(secure, MAIN_HOST, SMALL) != b"x" * SMALL_BYTES:
            raise OSError(f"{server.peer.name} gives another page than the upstream's")
