"""What is wrong with the service beside its certificates, for everybody who looks: status, console, `/readyz`, metrics.

Pure: the facts come from the supervisor's report, the workers' reports and the file system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.model.certificate.findings import Finding
from certstore.model.json_facts import Kept
from certstore.model.service_state import ServiceState, Verdict
from certstore.model.text import shown

LEAST_BYTES = 16 << 20
"""With less free space, the next certificate or order may not fit: an archive, journals and logs grow."""
LEAST_FILES = 200
NAMED = 10
"""How many upstreams are named."""


class ServiceProblem(StrEnum):
    DISK_FULL = "disk_full"
    STORE_READ_ONLY = "store_read_only"
    LISTENER_INCOMPLETE = "listener_incomplete"
    SETTINGS_REFUSED = "settings_refused"
    TLS_FALLBACK = "tls_fallback"
    UPSTREAM_DOWN = "upstream_down"


UNREADY = frozenset({ServiceProblem.DISK_FULL, ServiceProblem.STORE_READ_ONLY, ServiceProblem.LISTENER_INCOMPLETE})
"""Those with which the service as a whole can't be relied on. A web server that is down concerns its sites only."""


@dataclass(frozen=True, slots=True)
class DownUpstream(Kept):
    """A web or mail server to which a worker could not connect at its last attempt, or that fails its health check.

    `since` the first failure, `at` the last one.
    """

    kind: str
    """`web` or `mail`."""
    name: str
    reason: str
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class ReachedUpstream(Kept):
    """A server to which a worker could connect at its last attempt."""

    kind: str
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """What the store's file system has left for its owner. `free_files` is None where it has no such limit."""

    free_bytes: int
    free_files: int | None
    is_read_only: bool


def find_service_problems(
    state: ServiceState | None, down: Iterable[DownUpstream], disk: DiskSpace | None, store: str
) -> tuple[Finding, ...]:
    """All of them, the gravest first. `down` is what `still_down` says, `store` the store's folder, for the words."""
    return (*_disk(disk, store), *_settings(state), *_upstreams(list(down)))


def _disk(disk: DiskSpace | None, store: str) -> Iterator[Finding]:
    if disk is None:
        return
    consequence = "no certificate can be installed, ordered or renewed"
    if disk.is_read_only:
        yield Finding(ServiceProblem.STORE_READ_ONLY, f"{store} is mounted read-only: {consequence}; mount it writable")
    elif disk.free_bytes < LEAST_BYTES:
        left = f"only {disk.free_bytes >> 20} MB are free"
        yield Finding(ServiceProblem.DISK_FULL, f"the disk of {store} is full ({left}): {consequence}; free some space")
    elif disk.free_files is not None and disk.free_files < LEAST_FILES:
        left = f"only {disk.free_files} files can be created"
        yield Finding(ServiceProblem.DISK_FULL, f"the disk of {store} is full ({left}): {consequence}; remove files")


def _settings(state: ServiceState | None) -> Iterator[Finding]:
    if state is None:
        return
    for problem in state.problems:
        yield Finding(ServiceProblem.LISTENER_INCOMPLETE, problem)
    if state.verdict is Verdict.REFUSED:
        since = f"the service runs with the settings of {state.applied_at:%Y-%m-%d %H:%M} UTC"
        words = f"the last reload was refused, and {since}: {state.message}"
        yield Finding(ServiceProblem.SETTINGS_REFUSED, words)
    if state.tls_problem:
        remedy = "install the release of cryptography that this release asks for, then restart the service"
        yield Finding(ServiceProblem.TLS_FALLBACK, f"{state.tls_problem}; clients are served; {remedy}")


def _upstreams(found: Sequence[DownUpstream]) -> Iterator[Finding]:
    for each in found[:NAMED]:
        since = f"{each.since:%Y-%m-%d %H:%M} UTC"
        words = f"the {each.kind} server {each.name} has been down since {since}: {shown(each.reason)}"
        yield Finding(ServiceProblem.UPSTREAM_DOWN, words)
    if len(found) > NAMED:
        yield Finding(ServiceProblem.UPSTREAM_DOWN, f"{len(found) - NAMED} more servers are down")


def still_down(down: Iterable[DownUpstream], reached: Iterable[ReachedUpstream]) -> list[DownUpstream]:
    """One of each server, as the first worker saw it, unless another worker has reached it since."""
    last = {(each.kind, each.name): each.at for each in sorted(reached, key=lambda one: one.at)}
    first: dict[tuple[str, str], DownUpstream] = {}
    for each in sorted(down, key=lambda one: one.since):
        key = each.kind, each.name
        if key not in last or last[key] < each.at:
            first.setdefault(key, each)
    return sorted(first.values(), key=lambda one: (one.kind, one.name))
