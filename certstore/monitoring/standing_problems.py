"""Gathers everything that is wrong with the service now, for those who are told once it lasts.

Goes through what status, `/readyz` and the cluster find. Certificates that expire are left out: they have warnings of
their own. The words may travel far, by mail or to somebody's chat: they never quote the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from certstore.model.certificate.findings import Finding
from certstore.model.cluster.standing import HISTORY
from certstore.model.layout import Layout
from certstore.model.notify.standing_problems import FoundProblem
from certstore.model.readiness import Unreadiness
from certstore.model.service_problems import ServiceProblem, find_service_problems
from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN, ServedCertificate
from certstore.model.text import shown
from certstore.monitoring.cluster_standing import read_standing
from certstore.monitoring.readiness import current_readiness
from certstore.monitoring.service_problems import disk_space, servers_down
from certstore.monitoring.service_report import read_report
from certstore.monitoring.worker_reports import WorkerReport, living_workers

ABSENT = "cluster_absent"

_OF_CERTIFICATES = frozenset({Unreadiness.MAIN_EXPIRED, Unreadiness.MAINTENANCE_STALLED})
_OF_MAIN = frozenset({"clock_off", "contact_refused", "drop_refused", "live_unusable", "not_activated",
                      "settings_invalid", "source_missing"})  # fmt: skip
"""Problems of the main site that concern the whole service."""


def find_problems(
    settings: Settings,
    layout: Layout,
    main: ServedCertificate | None,
    of_main: Sequence[Finding],
    now: datetime,
    overdue: Mapping[str, datetime] = MappingProxyType({}),
) -> Iterator[FoundProblem]:
    """`main` is the main certificate, `of_main` the problems of its site. Raises OSError."""
    workers = living_workers(layout, now)
    yield from _of_service(layout, workers)
    readiness = current_readiness(
        settings, layout, main, workers, now, is_maintenance_stalled=False, overdue=overdue
    )  # fmt: skip
    for code, message in readiness.problems:
        if code not in _OF_CERTIFICATES:
            yield FoundProblem(code.value, "", message)
    for each in of_main:
        if str(each.code) in _OF_MAIN:
            yield FoundProblem(str(each.code), MAIN, each.message)
    if settings.cluster is not None:
        yield from _of_cluster(layout, now)


def _of_service(layout: Layout, workers: Iterable[WorkerReport]) -> Iterator[FoundProblem]:
    state = read_report(layout)
    for each in find_service_problems(state, (), disk_space(layout.root), str(layout.root)):
        message = each.message
        if each.code == ServiceProblem.SETTINGS_REFUSED and state is not None:
            applied = f"{state.applied_at:%Y-%m-%d %H:%M} UTC"
            message = (
                f"the last reload was refused, and the service runs with the settings of {applied}: "
                "certedge status and certedge check-config say why"
            )
        yield FoundProblem(str(each.code), "", message)
    for server in servers_down(workers):
        since = f"{server.since:%Y-%m-%d %H:%M} UTC"
        words = f"the {server.kind} server {server.name} has been down since {since}: {shown(server.reason)}"
        yield FoundProblem(ServiceProblem.UPSTREAM_DOWN.value, f"{server.kind} {server.name}", words)


def _of_cluster(layout: Layout, now: datetime) -> Iterator[FoundProblem]:
    """What this node finds of the others is left to the one that warns: each of them would tell it."""
    standing = read_standing(layout, now)
    if standing is None:
        yield FoundProblem(ABSENT, "", "this node takes no part in its cluster and renews nothing: the log says why")
        return
    for code, message in standing.problems:
        if code not in HISTORY:
            yield FoundProblem(code, "", message)
    for node in standing.nodes:
        for code, message in node.problems:
            yield FoundProblem(code, node.name, message, is_common=node.name != standing.node)
