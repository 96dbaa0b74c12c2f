"""Whether the service as a whole is ready, and if not, why: the answer of `/readyz`.

Pure. Describes the current state; the notifier decides about warnings. A worker's health listener answers a different
question: whether clients may be sent to that worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain

from certstore.model.snapshot import ServedCertificate
from certstore.model.text import listed
from certstore.model.unloadable import Unloadable, main_first

BEHIND_AFTER = timedelta(seconds=15)
"""Workers read the journal forty times a second and report once a second, so this leaves them ample time."""

ADOPTED_WITHIN = timedelta(seconds=60)
"""What other nodes changed is served here within a second, unless this node's disk or library refuses it."""

NAMED = 5
"""How many unloadable certificates are named."""

Position = tuple[int, int]
"""A place in the journal: the file's inode and a number of bytes."""


class Unreadiness(StrEnum):
    NO_MAIN = "no_main"
    MAIN_EXPIRED = "main_expired"
    MAIN_NOT_YET_VALID = "main_not_yet_valid"
    NO_WORKERS = "no_workers"
    WORKERS_BEHIND = "workers_behind"
    LIVE_UNLOADABLE = "live_unloadable"
    MAINTENANCE_STALLED = "maintenance_stalled"
    ATTEMPT_OVERDUE = "attempt_overdue"
    JOINING = "joining"
    CLUSTER_BEHIND = "cluster_behind"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as it last reported."""

    pid: int
    journal: Position
    is_draining: bool
    unloadable: Sequence[Unloadable] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """The facts. `journal` is the journal's end after the last write, at `journal_changed`; both are None without a
    journal. `expects_workers` is true if edge.yaml has listeners. `overdue` are the sites whose attempts hang, and
    since when. `is_joining`: this node has not seen all sites of its cluster yet; `behind_since`: from then on it
    could not adopt something. Without an engine a node is ready: it serves what it has.
    """

    main: ServedCertificate | None
    journal: Position | None
    journal_changed: datetime | None
    workers: Sequence[WorkerView]
    expects_workers: bool
    is_maintenance_stalled: bool
    overdue: Mapping[str, datetime] = field(default_factory=dict)
    is_joining: bool = False
    behind_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """`problems` holds codes and messages; it is empty if the service is ready."""

    problems: tuple[tuple[Unreadiness, str], ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_readiness(observed: Observed, now: datetime) -> Readiness:
    """Finds all problems, not only the first one."""
    checks = (
        _main(observed.main, now),
        _workers(observed, now),
        _loading(observed),
        _maintenance(observed),
        _cluster(observed, now),
    )
    return Readiness(tuple(chain.from_iterable(checks)))


def _main(main: ServedCertificate | None, now: datetime) -> Iterator[tuple[Unreadiness, str]]:
    if main is None:
        yield Unreadiness.NO_MAIN, "there is no main certificate"
    elif main.not_after <= now:
        yield Unreadiness.MAIN_EXPIRED, f"the main certificate expired on {main.not_after:%Y-%m-%d %H:%M} UTC"
    elif main.not_before > now:
        yield Unreadiness.MAIN_NOT_YET_VALID, f"the main certificate is valid from {main.not_before:%Y-%m-%d %H:%M} UTC"


def _workers(observed: Observed, now: datetime) -> Iterator[tuple[Unreadiness, str]]:
    serving = [worker for worker in observed.workers if not worker.is_draining]
    if not serving:
        if observed.expects_workers:
            yield Unreadiness.NO_WORKERS, "no worker is serving"
        return
    changed = observed.journal_changed
    if changed is None or now - changed < BEHIND_AFTER:
        return
    behind = [worker.pid for worker in serving if worker.journal != observed.journal]
    if behind:
        pids = ", ".join(map(str, sorted(behind)))
        yield (
            Unreadiness.WORKERS_BEHIND,
            f"{len(behind)} of {len(serving)} workers (pid {pids}) do not serve the current state of the store",
        )


def _loading(observed: Observed) -> Iterator[tuple[Unreadiness, str]]:
    found = main_first([each for worker in observed.workers if not worker.is_draining for each in worker.unloadable])
    if found:
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        yield Unreadiness.LIVE_UNLOADABLE, "; ".join(each.message for each in found[:NAMED]) + more


def _maintenance(observed: Observed) -> Iterator[tuple[Unreadiness, str]]:
    if observed.is_maintenance_stalled:
        yield Unreadiness.MAINTENANCE_STALLED, "orders, renewals and warnings have stopped"
    if observed.overdue:
        oldest = min(observed.overdue.values())
        names = listed(sorted(observed.overdue))
        words = f"attempts to order for {names} have been running since {oldest:%Y-%m-%d %H:%M} UTC: they hang"
        yield Unreadiness.ATTEMPT_OVERDUE, words


def _cluster(observed: Observed, now: datetime) -> Iterator[tuple[Unreadiness, str]]:
    if observed.is_joining:
        yield Unreadiness.JOINING, "this node is joining its cluster: not all sites are here yet"
    since = observed.behind_since
    if since is not None and now - since > ADOPTED_WITHIN:
        words = f"what other nodes changed can't be taken over here since {since:%Y-%m-%d %H:%M} UTC: the log says why"
        yield Unreadiness.CLUSTER_BEHIND, words
