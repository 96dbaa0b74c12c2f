"""GETs of a small page: on kept HTTP/1.1 connections, and on HTTP/2 streams."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.clients import Load, h2load, wrk
from tests.bench.figures import HTTP2, KEEP_ALIVE
from tests.bench.measurements.in_turn import measure_in_turn
from tests.bench.peers import Server
from tests.bench.upstream import SMALL

STREAMS = 10
_TRIAL = 100


def measure(bench: Bench) -> None:
    def http2(server: Server) -> Load:
        trial = h2load(server.port, SMALL, _TRIAL, streams=STREAMS)
        wanted = int(_TRIAL / max(trial.seconds, 0.001) * bench.size.seconds)
        requests = min(max(wanted, _TRIAL), 50_000 * bench.size.seconds)
        done = h2load(server.port, SMALL, requests, streams=STREAMS)
        return Load(trial.operations + done.operations, trial.seconds + done.seconds)

    measure_in_turn(bench, {KEEP_ALIVE: lambda server: wrk(server.port, SMALL, bench.size.seconds), HTTP2: http2})
