"""The counts of one worker's data plane: plain integers, moved by one where something happens.

No locks, no label objects, no I/O: a request costs well under a microsecond. What the numbers are called, and how those
of several workers become one page, is `certstore.model.metrics`'s to say; `metrics_file` hands them over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from certstore.model.metrics import LATENCY_BOUNDS, OTHER_SITES, Sample
from certstore.model.selection import Selection
from certstore.model.settings.models import ListenerSettings
from certstore.model.snapshot import MAIN

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane

SITES = 200
"""Sites with a label of their own, the first that are asked for; a page of Prometheus must not grow with customers."""
UPSTREAMS = 100
UNKNOWN_SITE = "unknown"
"""Of requests that were refused before their site was known."""
CODES = ("none", *(f"{first}xx" for first in range(1, 10)))
NO_UPSTREAM = -1.0


class Metrics:
    """Of one worker, since its start."""

    __slots__ = ("_chosen", "_connections", "_handshakes", "_latency", "_latency_sum", "_others", "_requests", "_sizes")

    def __init__(self) -> None:
        self._connections: Counter[str] = Counter()
        self._handshakes: Counter[tuple[str, str, str]] = Counter()
        self._chosen: Counter[tuple[str, str]] = Counter()
        self._requests: dict[str, list[int]] = {}
        self._others = [0] * len(CODES)
        self._latency = [0] * (len(LATENCY_BOUNDS) + 1)
        self._latency_sum = 0.0
        self._sizes = [0, 0]

    def accepted(self, listener: ListenerSettings) -> None:
        self._connections[name_of(listener)] += 1

    def handshake(
        self, listener: ListenerSettings, version: str | None, outcome: str, selection: Selection | None = None
    ) -> None:
        """One has ended: `outcome` is `done`, and then `selection` is what was shown, or the cause why not."""
        self._handshakes[name_of(listener), version or "", outcome] += 1
        if selection is not None:
            kind = MAIN if selection.certificate.site == MAIN else "domain"
            self._chosen[kind, selection.reason.value] += 1

    def request(self, site: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One has ended. `status` 0: without an answer; `seconds` NO_UPSTREAM: no upstream took part."""
        counts = self._requests.get(site)
        if counts is None:
            counts = self._counts_of(site)
        counts[status // 100] += 1
        sizes = self._sizes
        sizes[0] += bytes_in
        sizes[1] += bytes_out
        if seconds >= 0.0:
            self._latency[bisect_left(LATENCY_BOUNDS, seconds)] += 1
            self._latency_sum += seconds

    def _counts_of(self, site: str) -> list[int]:
        if len(self._requests) >= SITES:
            return self._others
        self._requests[site] = [0] * len(CODES)
        return self._requests[site]

    def samples(self, plane: DataPlane) -> Iterator[Sample]:
        """Everything as it is now."""
        for name, value in self._connections.items():
            yield Sample("certedge_connections_total", (name,), value)
        open_now = Counter(name_of(each.listener) for each in plane.connections)
        for name in self._connections:
            yield Sample("certedge_connections_open", (name,), open_now[name])
        for handshake, value in self._handshakes.items():
            yield Sample("certedge_handshakes_total", handshake, value)
        for choice, value in self._chosen.items():
            yield Sample("certedge_certificates_chosen_total", choice, value)
        for site, counts in (*self._requests.items(), (OTHER_SITES, self._others)):
            for code, value in zip(CODES, counts, strict=True):
                if value:
                    yield Sample("certedge_requests_total", (site or UNKNOWN_SITE, code), value)
        yield Sample("certedge_upstream_seconds", (), self._latency_sum, tuple(self._latency))
        for direction, value in zip(("in", "out"), self._sizes, strict=True):
            yield Sample("certedge_body_bytes_total", (direction,), value)
        for cause, value in plane.counters.items():
            yield Sample("certedge_events_total", (cause,), value)
        yield from _pools(plane)
        yield Sample("certedge_snapshot_sites", (), len(plane.snapshot.sites))
        yield Sample("certedge_snapshot_age_seconds", (), round(max(0.0, plane.loop.time() - plane.seen_at), 1))
        yield Sample("certedge_workers", (), int(not plane.is_draining))


def name_of(listener: ListenerSettings) -> str:
    """The label of a listener."""
    return f"{listener.kind.value} {listener.listen}"


def _pools(plane: DataPlane) -> Iterator[Sample]:
    used: Counter[tuple[str, str]] = Counter()
    for server in plane.upstream_servers():
        used[server.name, "idle"] += len(server.idle)
        used[server.name, "active"] += server.active
    for labels, value in list(used.items())[: 2 * UPSTREAMS]:
        yield Sample("certedge_upstream_connections", labels, value)
