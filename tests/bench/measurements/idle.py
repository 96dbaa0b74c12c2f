"""Memory per open TLS connection on which one request has been answered and nothing happens any more."""

from __future__ import annotations

from tests.bench import accounting
from tests.bench.bench import Bench
from tests.bench.clients import held_connections, still_answered
from tests.bench.figures import EDGE, IDLE
from tests.bench.material import MAIN_HOST
from tests.bench.peers import Server
from tests.bench.upstream import SMALL

_WARM_UP = 50


def measure(bench: Bench) -> None:
    for peer in bench.kinds:
        has_few = peer.is_slow or (bench.size.is_brief and peer.name != EDGE)
        counts = bench.size.few_idle_connections if has_few else bench.size.idle_connections
        for count in sorted(set(bench.size.idle_connections) - set(counts)):
            bench.results.note(IDLE.at(count), peer.name, "not tried")
        for count in counts:
            with bench.serving(peers=[peer]) as servers:
                for server in servers:
                    _measure(bench, server, count)


def _measure(bench: Bench, server: Server, count: int) -> None:
    name, figure = server.peer.name, IDLE.at(count)
    with held_connections(server.port, MAIN_HOST, SMALL, min(_WARM_UP, count)):
        pass
    before = accounting.pss_kilobytes(server.peer.data_plane(server))
    try:
        with held_connections(server.port, MAIN_HOST, SMALL, count) as held:
            value = (accounting.pss_kilobytes(server.peer.data_plane(server)) - before) / count
            answered = still_answered(held, MAIN_HOST, SMALL)
    except OSError as error:
        bench.results.note(figure, name, "refuses so many")
        bench.say(f"{name}: {count} idle connections: {error}")
        return
    bench.results.add(figure, name, value)
    if answered < count:
        bench.results.note(figure, name, f"{count - answered} were closed")
    bench.say(f"{figure.title}, {count:,} of them: {name} {value:.1f} KB, {answered:,} answered again")
