"""One large body over HTTP/2 and a long line: the elapsed time, because it is the windows that decide it."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench import eager
from tests.bench.bench import Bench
from tests.bench.clients import Load, LoadFailed, h2load
from tests.bench.delay import DelayingRelay
from tests.bench.figures import LINE_DELAYS, LINE_DOWNLOAD, LINE_EAGER, LINE_MEGABYTES, LINE_UPLOAD, Figure
from tests.bench.measurements.in_turn import check_answers
from tests.bench.peers import Server
from tests.bench.upstream import LINE, UPLOAD

ROUNDS = 2
"""Servers with a small fixed window take minutes for each."""


def measure(bench: Bench) -> None:
    body = bench.root / "body"
    body.write_bytes(bytes(LINE_MEGABYTES * 1024**2))
    loads: dict[Figure, Callable[[int], Load]] = {
        LINE_UPLOAD: lambda port: h2load(port, UPLOAD, 1, connections=1, upload=body),
        LINE_DOWNLOAD: lambda port: h2load(port, LINE, 1, connections=1),
        LINE_EAGER: lambda port: eager.download(port, LINE, LINE_MEGABYTES * 1024**2),
    }
    with bench.serving() as servers:
        for server in servers:
            check_answers(server)
        for delay in bench.size.line_delays or LINE_DELAYS:
            for figure, load in loads.items():
                for _ in range(min(bench.size.rounds, ROUNDS)):
                    for server in servers:
                        _measure_one(bench, figure.over_line(delay), server, delay, load)


def _measure_one(bench: Bench, figure: Figure, server: Server, delay: int, load: Callable[[int], Load]) -> None:
    name = server.peer.name
    with DelayingRelay(server.port, seconds=delay / 1000) as line:
        try:
            seconds = load(line.port).seconds
        except (LoadFailed, OSError) as error:
            bench.results.note(figure, name, "failed")
            bench.say(f"{name}: {figure.title}: {error}")
            return
    bench.results.add(figure, name, seconds)
    bench.say(f"{figure.title}: {name} {seconds:.2f} s")
