"""What is measured, one module each; every one takes the run and adds to its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.bench.bench import Bench
from tests.bench.measurements import bodies, handshakes, idle, lines, requests, scaling, stores

Measurement = Callable[[Bench], None]

MEASUREMENTS: Mapping[str, Measurement] = {
    "handshakes": handshakes.measure,
    "requests": requests.measure,
    "bodies": bodies.measure,
    "lines": lines.measure,
    "idle": idle.measure,
    "scaling": scaling.measure,
    "stores": stores.measure,
}
