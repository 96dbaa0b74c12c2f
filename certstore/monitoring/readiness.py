"""Collects the facts behind `/readyz`: store, workers and maintenance. `model.readiness` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from certstore.model.layout import Layout
from certstore.model.readiness import Observed, Position, Readiness, WorkerView, check_readiness
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.monitoring.cluster_standing import read_standing
from certstore.monitoring.worker_reports import WorkerReport


def current_readiness(
    settings: Settings,
    layout: Layout,
    main: ServedCertificate | None,
    workers: Iterable[WorkerReport],
    now: datetime,
    *,
    is_maintenance_stalled: bool,
    overdue: Mapping[str, datetime] = MappingProxyType({}),
) -> Readiness:
    """`main` is the main certificate being served, `workers` are the living ones (`Gathered.workers`)."""
    position, changed = _journal(layout)
    standing = read_standing(layout, now) if settings.cluster is not None else None
    observed = Observed(
        main=main,
        journal=position,
        journal_changed=changed,
        workers=[WorkerView(each.pid, each.journal, each.is_draining, each.unloadable) for each in workers],
        expects_workers=bool(settings.listeners),
        is_maintenance_stalled=is_maintenance_stalled,
        overdue=overdue,
        is_joining=standing is not None and standing.is_joining,
        behind_since=standing.behind_since if standing is not None else None,
    )
    return check_readiness(observed, now)


def _journal(layout: Layout) -> tuple[Position | None, datetime | None]:
    try:
        status = layout.snapshot_journal.stat()
    except OSError:
        return None, None
    return (status.st_ino, status.st_size), datetime.fromtimestamp(status.st_mtime, UTC)
