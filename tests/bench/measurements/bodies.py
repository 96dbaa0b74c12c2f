"""Bodies of 1 MB and of 100 MB, over HTTP/1.1."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.clients import h2load
from tests.bench.figures import LARGE, MEGABYTE
from tests.bench.measurements.in_turn import measure_in_turn
from tests.bench.upstream import LARGE as LARGE_PATH
from tests.bench.upstream import MEGABYTE as MEGABYTE_PATH

BODIES_PER_SECOND = 150


def measure(bench: Bench) -> None:
    size = bench.size
    loads = {
        MEGABYTE: lambda server: h2load(
            server.port, MEGABYTE_PATH, (30 if server.peer.is_slow else BODIES_PER_SECOND) * size.seconds, http1=True
        ),
        LARGE: lambda server: h2load(server.port, LARGE_PATH, size.large_bodies, http1=True, connections=1),
    }
    measure_in_turn(bench, loads, scales={LARGE: 1e3})
