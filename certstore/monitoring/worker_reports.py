"""Adds up the numbers that workers write to files, and keeps a sum for workers that have ended.

So a count never goes back when a worker is replaced or crashes, or the whole service restarts. Workers write, the
control process reads and removes; neither waits for the other.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certstore.files.atomic import replace_file
from certstore.model.layout import WORKER_REPORTS, Layout
from certstore.model.metrics import Sample, add_up, bound_sites, lasting
from certstore.model.service_problems import DownUpstream, ReachedUpstream
from certstore.model.unloadable import Unloadable

SILENT_AFTER = timedelta(seconds=60)
"""A worker writes at least every ten seconds. One silent for this long is gone, even if another process has its pid."""
SITES = 500
"""The number of sites with their own label, over all past and present workers."""
_REMEMBERED = 256
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's latest report. `journal` is how far it has read: inode and bytes."""

    id: str
    pid: int
    at: datetime
    is_draining: bool
    journal: tuple[int, int]
    samples: tuple[Sample, ...]
    unloadable: tuple[Unloadable, ...] = ()
    down: tuple[DownUpstream, ...] = ()
    reached: tuple[ReachedUpstream, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """The living workers, and the sum of everything that was counted."""

    workers: tuple[WorkerReport, ...]
    samples: tuple[Sample, ...]


class WorkerReports:
    """The reports in one store. `collect` may be called from any thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()

    def collect(self, now: datetime) -> Gathered:
        """Read all reports. Those of workers that have ended are added to the sum, and their files removed."""
        with self._lock:
            ids, past = self._read_past()
            living: list[WorkerReport] = []
            ended: list[tuple[Path, WorkerReport]] = []
            for path in sorted(self._layout.worker_reports.glob(WORKER_REPORTS)):
                report = read_report(path)
                if report is None:
                    continue
                if _is_living(report, now):
                    living.append(report)
                else:
                    ended.append((path, report))
            if ended:
                new = [report for _, report in ended if report.id not in ids]
                counted = (sample for report in new for sample in lasting(report.samples))
                past = bound_sites(add_up([*past, *counted]), SITES)
                ids = [*ids, *(report.id for report in new)][-_REMEMBERED:]
                self._keep(ids, past)
                for path, _ in ended:
                    path.unlink(missing_ok=True)
            counts = (sample for report in living for sample in report.samples)
            return Gathered(tuple(living), tuple(bound_sites(add_up([*past, *counts]), SITES)))

    def _read_past(self) -> tuple[list[str], list[Sample]]:
        try:
            facts = json.loads(self._layout.ended_workers.read_bytes())
            return [str(each) for each in facts["ids"]], _samples(facts["samples"])
        except _UNREADABLE:
            return [], []

    def _keep(self, ids: list[str], samples: list[Sample]) -> None:
        """The sum is written before the files are removed. It holds the workers' ids, so that a kill in between counts
        nothing twice."""
        facts = {"ids": ids, "samples": [each.to_json() for each in samples]}
        content = json.dumps(facts, separators=(",", ":")).encode()
        replace_file(self._layout.ended_workers, content, 0o600, self._layout.temporary, is_durable=False)


def living_workers(layout: Layout, now: datetime) -> list[WorkerReport]:
    """The reports of workers that run, for readers who collect nothing."""
    folder = layout.worker_reports
    found = [read_report(path) for path in sorted(folder.glob(WORKER_REPORTS))]
    return [report for report in found if report is not None and _is_living(report, now)]


def _is_living(report: WorkerReport, now: datetime) -> bool:
    return now - report.at < SILENT_AFTER and _lives(report.pid)


def read_report(path: Path) -> WorkerReport | None:
    """None if the file is not a report, or one of an incompatible version."""
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        inode, offset = facts["journal"]
        return WorkerReport(
            str(facts["id"]),
            int(facts["pid"]),
            datetime.fromtimestamp(facts["at"], UTC),
            bool(facts["is_draining"]),
            (int(inode), int(offset)),
            tuple(_samples(facts["samples"])),
            tuple(map(Unloadable.from_json, facts.get("unloadable", ()))),
            tuple(map(DownUpstream.from_json, facts.get("down", ()))),
            tuple(map(ReachedUpstream.from_json, facts.get("reached", ()))),
        )
    except _UNREADABLE:
        return None


def _samples(lines: Iterable[Any]) -> list[Sample]:
    samples = []
    for line in lines:
        try:
            samples.append(Sample.from_json(line))
        except (ValueError, KeyError, TypeError):
            continue  # a metric that this version does not know
    return samples


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
