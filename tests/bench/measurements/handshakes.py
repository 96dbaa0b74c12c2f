"""Full and resumed handshakes, alone and with one GET, on the main certificate (s_time sends no SNI)."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.clients import s_time
from tests.bench.figures import HANDSHAKE, HANDSHAKE_GET, RESUMED, RESUMED_GET
from tests.bench.measurements.in_turn import measure_in_turn
from tests.bench.upstream import SMALL


def measure(bench: Bench) -> None:
    seconds = bench.size.seconds
    loads = {
        HANDSHAKE: lambda server: s_time(server.port, seconds),
        HANDSHAKE_GET: lambda server: s_time(server.port, seconds, path=SMALL),
        RESUMED: lambda server: s_time(server.port, seconds, reuse=True),
        RESUMED_GET: lambda server: s_time(server.port, seconds, path=SMALL, reuse=True),
    }
    measure_in_turn(bench, loads)
