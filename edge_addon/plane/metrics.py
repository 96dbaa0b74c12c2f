"""The counters of one worker's data plane: plain integers, incremented where something happens.

No locks, no label objects, no I/O: a request costs well under a microsecond. `processes.metrics_file` writes them for
the control process; `certstore.model.metrics` knows their names and combines those of several workers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from certstore.model.metrics import LATENCY_BOUNDS
from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerSettings
from certstore.model.snapshot import MAIN

SITES = 200
"""Only the first sites that get requests have their own label, or the metrics would grow with the customers."""
CODES = ("none", *(f"{first}xx" for first in range(1, 10)))
NO_UPSTREAM = -1.0


class Metrics:
    """The counters of one worker since its start."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        self.handshakes: Counter[tuple[str, str, str]] = Counter()
        self.chosen: Counter[tuple[str, str]] = Counter()
        self.requests: dict[str, list[int]] = {}
        self.other_sites = [0] * len(CODES)
        self.latency = [0] * (len(LATENCY_BOUNDS) + 1)
        self.latency_sum = 0.0
        self.sizes = [0, 0]

    def accepted(self, listener: ListenerSettings) -> None:
        self.connections[listener.label] += 1

    def handshake(
        self, listener: ListenerSettings, version: str | None, outcome: str, selection: Selection | None = None
    ) -> None:
        """A handshake has ended: `outcome` is `done`, with the `selection` served, or the cause of its failure."""
        self.handshakes[listener.label, version or "", outcome] += 1
        if selection is not None:
            kind = MAIN if selection.certificate.site == MAIN else "domain"
            self.chosen[kind, selection.reason.value] += 1

    def request(self, site: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """A request has ended. `status` 0: without an answer; `seconds` NO_UPSTREAM: no upstream was involved."""
        counts = self.requests.get(site)
        if counts is None:
            counts = self._counts_of(site)
        counts[status // 100] += 1
        sizes = self.sizes
        sizes[0] += bytes_in
        sizes[1] += bytes_out
        if seconds >= 0.0:
            self.latency[bisect_left(LATENCY_BOUNDS, seconds)] += 1
            self.latency_sum += seconds

    def _counts_of(self, site: str) -> list[int]:
        if len(self.requests) >= SITES:
            return self.other_sites
        self.requests[site] = [0] * len(CODES)
        return self.requests[site]
