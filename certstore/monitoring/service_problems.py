"""Collects the facts behind the service's problems. `model.service_problems` decides."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from certstore.model.certificate.findings import Finding
from certstore.model.layout import Layout
from certstore.model.service_problems import DiskSpace, DownUpstream, find_service_problems, still_down
from certstore.monitoring.service_report import read_report
from certstore.monitoring.worker_reports import WorkerReport, living_workers


def current_service_problems(
    layout: Layout, now: datetime, workers: Iterable[WorkerReport] | None = None
) -> tuple[Finding, ...]:
    """`workers` are the living ones; they are looked for where they are not given. Raises OSError if this user may not
    know."""
    if workers is None:
        workers = living_workers(layout, now)
    return find_service_problems(read_report(layout), servers_down(workers), disk_space(layout.root), str(layout.root))


def servers_down(workers: Iterable[WorkerReport]) -> list[DownUpstream]:
    """All web and mail servers that the living workers can't reach."""
    serving = [worker for worker in workers if not worker.is_draining]
    return still_down(
        [each for worker in serving for each in worker.down], [each for worker in serving for each in worker.reached]
    )


def disk_space(folder: Path) -> DiskSpace | None:
    """For others than root, for whom some of it may be reserved. None if there is no such folder."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    files = found.f_favail if found.f_files else None
    return DiskSpace(found.f_bavail * found.f_frsize, files, bool(found.f_flag & os.ST_RDONLY))
