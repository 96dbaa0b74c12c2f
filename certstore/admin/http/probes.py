"""`/metrics` and `/readyz`, for monitoring. `/readyz` is public; metrics name customers, so they need a token.

Only gathers: `certstore.monitoring` computes the numbers and decides readiness.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from certstore.admin.actions.action import Actions
from certstore.admin.http.identity import find_actor
from certstore.control.upkeep import Upkeep
from certstore.model.console.authorization import Action
from certstore.model.notify.warnings import MatterKind
from certstore.model.service_problems import UNREADY
from certstore.model.snapshot import MAIN
from certstore.monitoring.cluster_standing import read_standing
from certstore.monitoring.metrics import CONTENT_TYPE, render
from certstore.monitoring.readiness import current_readiness
from certstore.monitoring.service_problems import current_service_problems
from certstore.monitoring.worker_reports import WorkerReports
from certstore.store.status import status


def probe_routes(actions: Actions) -> APIRouter:
    """The two routes. Both run on threads because they read files."""
    context = actions.context
    reports = WorkerReports(context.writer.layout)
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        actor = find_actor(request)
        if actor is None:
            # No redirect to the sign-in page: a program would follow it and read a page.
            return Response(
                "an API token is required\n", 401, headers={"WWW-Authenticate": "Bearer"}, media_type="text/plain"
            )
        actions.check(actor, Action.SERVICE_VIEW)
        now = context.clock()
        workers = reports.collect(now)
        problems = current_service_problems(context.writer.layout, now, workers.workers)
        warnings = _warnings(context.upkeep(), now)
        standing = read_standing(context.writer.layout, now) if context.settings.cluster is not None else None
        cluster = standing.samples() if standing is not None else ()
        page = render(status(context.writer, now), workers, now, _events(actions), warnings, problems, cluster)
        return Response(page, headers={"Content-Type": CONTENT_TYPE})

    @router.get("/readyz")
    def readyz() -> Response:
        now = context.clock()
        upkeep = context.upkeep()
        workers = reports.collect(now).workers
        readiness = current_readiness(
            context.settings,
            context.writer.layout,
            context.writer.site(MAIN).certificate,
            workers,
            now,
            is_maintenance_stalled=upkeep is None or upkeep.maintenance.is_stalled(now),
            overdue=upkeep.maintenance.overdue(now) if upkeep is not None else {},
        )
        found = current_service_problems(context.writer.layout, now, workers)
        problems = [{"code": code.value, "message": words} for code, words in readiness.problems]
        problems += [each.to_json() for each in found if each.code in UNREADY]
        facts = {"status": "not ready" if problems else "ready", "problems": problems}
        return JSONResponse(facts, 503 if problems else 200, headers={"Cache-Control": "no-store"})

    return router


def _warnings(upkeep: Upkeep | None, now: datetime) -> dict[str, int]:
    """How many matters stand, by kind: with a zero, so that an alert has something to compare."""
    kinds = Counter(matter.kind for matter, _ in upkeep.maintenance.warnings(now)) if upkeep is not None else Counter()
    return {kind.value: kinds[kind] for kind in MatterKind}


def _events(actions: Actions) -> dict[str, int]:
    """How often the control process's bounds have been reached since its start."""
    upkeep = actions.context.upkeep()
    return {
        "sign_in_throttled": actions.throttle.refused,
        "audit_entry_counted": actions.access.audit.unwritten,
        "upload_refused": actions.context.writer.refused_uploads,
        "job_refused": actions.jobs.refused,
        "slow_order": upkeep.maintenance.slow_orders if upkeep is not None else 0,
        "notice_postponed": upkeep.notifier.postponed if upkeep is not None else 0,
    }
