"""Reports a worker's numbers to the control process: a small file, replaced once a second when they change.

The data plane needs no socket and no lock: control reads the files when somebody asks for metrics, and a worker that
has ended leaves its last numbers behind. `certstore.monitoring.worker_reports` reads the files.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from certstore.model.metrics import OTHER_SITES, Sample
from certstore.model.service_problems import DownUpstream, ReachedUpstream
from edge_addon.http.limits import FAILED_SECONDS
from edge_addon.plane.data_plane import DataPlane
from edge_addon.plane.metrics import CODES
from edge_addon.plane.upstream_attempts import RECENT_SECONDS, Attempt

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
"""How often the file is written when nothing has changed, to show that the worker is alive."""
UPSTREAMS = 100
"""The most upstreams whose connections are reported."""
UNLOADABLE = 100
"""The most certificates that are reported as unloadable."""
UNKNOWN_SITE = "unknown"
"""The site of requests that were refused before their site was known."""


class MetricsFile:
    """The report of one worker: `start` once its plane runs, `stop` at its end."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._path = plane.layout.worker_report(os.getpid())
        self._id = f"{os.getpid()}-{time.time_ns()}"  # a pid may be reused
        self._down_since: dict[tuple[str, str], datetime] = {}
        self._last = ""
        self._written = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            log.warning("this worker can't report its metrics: %s", error)
            return
        self._tick()

    def stop(self) -> None:
        """Write the last numbers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._write()

    def _tick(self) -> None:
        self._write()
        self._timer = self._plane.loop.call_later(WRITE_SECONDS, self._tick)

    def _write(self) -> None:
        plane = self._plane
        facts = {
            "samples": [sample.to_json() for sample in samples(plane)],
            "journal": plane.journal_position,
            "is_draining": plane.is_draining,
            **self._upstreams(),
            "unloadable": [each.to_json() for each in plane.unloadable()[:UNLOADABLE]],
        }
        text = json.dumps(facts, separators=(",", ":"))[1:]
        now = plane.loop.time()
        if text == self._last and now - self._written < HEARTBEAT_SECONDS:
            return
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(
                f'{{"id":"{self._id}","pid":{os.getpid()},"at":{time.time():.3f},{text}', encoding="utf-8"
            )
            temporary.replace(self._path)
        except OSError as error:
            if self._written >= 0:  # logged once, until it works again
                log.warning("this worker can't report its metrics: %s", error)
            self._written = -HEARTBEAT_SECONDS
            return
        self._last, self._written = text, now

    def _upstreams(self) -> dict[str, object]:
        """Which servers behind the edge are down, and which have been reached lately, for workers who know less."""
        now, clock = self._plane.loop.time(), datetime.now(UTC)
        down, reached = [], []
        for kind, attempt in islice(attempts(self._plane), UPSTREAMS):
            at = (clock - timedelta(seconds=now - attempt.at)).replace(microsecond=0)
            if attempt.reason:
                since = self._down_since.setdefault((kind, attempt.server), at)
                down.append(DownUpstream(kind, attempt.server, attempt.reason, since, at).to_json())
            else:
                self._down_since.pop((kind, attempt.server), None)
                reached.append(ReachedUpstream(kind, attempt.server, at).to_json())
        return {"down": down, "reached": reached}


def attempts(plane: DataPlane) -> Iterator[tuple[str, Attempt]]:
    """How the last connection to each web and mail server went, where that was lately, with its kind."""
    now = plane.loop.time()
    for server in plane.upstream_servers():
        failed_at = server.failed_until - FAILED_SECONDS
        if server.is_unhealthy:
            yield "web", Attempt(server.name, now, "it fails its health check")
        elif server.failed_until and now - failed_at < RECENT_SECONDS:
            yield "web", Attempt(server.name, failed_at, server.failure)
        elif now - server.worked_at < RECENT_SECONDS:
            yield "web", Attempt(server.name, server.worked_at, "")
    for attempt in plane.mail_upstreams.recent():
        yield "mail", attempt


def samples(plane: DataPlane) -> Iterator[Sample]:
    """The current values of all metrics of the worker."""
    metrics = plane.metrics
    for name, value in metrics.connections.items():
        yield Sample("certedge_connections_total", (name,), value)
    open_now = Counter(each.listener.label for each in plane.connections)
    for name in metrics.connections:
        yield Sample("certedge_connections_open", (name,), open_now[name])
    for handshake, value in metrics.handshakes.items():
        yield Sample("certedge_handshakes_total", handshake, value)
    for choice, value in metrics.chosen.items():
        yield Sample("certedge_certificates_chosen_total", choice, value)
    for site, counts in (*metrics.requests.items(), (OTHER_SITES, metrics.other_sites)):
        for code, value in zip(CODES, counts, strict=True):
            if value:
                yield Sample("certedge_requests_total", (site or UNKNOWN_SITE, code), value)
    yield Sample("certedge_upstream_seconds", (), metrics.latency_sum, tuple(metrics.latency))
    for direction, value in zip(("in", "out"), metrics.sizes, strict=True):
        yield Sample("certedge_body_bytes_total", (direction,), value)
    for cause, value in plane.counters.items():
        yield Sample("certedge_events_total", (cause,), value)
    yield from _pools(plane)
    for kind, attempt in islice(attempts(plane), UPSTREAMS):
        if attempt.reason:
            yield Sample("certedge_upstream_down", (kind, attempt.server), 1)
    yield Sample("certedge_unloadable_certificates", (), len(plane.contexts.unloadable))
    yield Sample("certedge_snapshot_sites", (), len(plane.snapshot.sites))
    yield Sample("certedge_snapshot_age_seconds", (), round(max(0.0, plane.loop.time() - plane.journal_read_at), 1))
    yield Sample("certedge_workers", (), int(not plane.is_draining))


def _pools(plane: DataPlane) -> Iterator[Sample]:
    used: Counter[tuple[str, str]] = Counter()
    for server in plane.upstream_servers():
        used[server.name, "idle"] += len(server.idle)
        used[server.name, "active"] += server.active
    for labels, value in list(used.items())[: 2 * UPSTREAMS]:
        yield Sample("certedge_upstream_connections", labels, value)
