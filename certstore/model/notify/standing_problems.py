"""Problems of the service itself that last: when one is worth a notice, and when it is over.

A problem is known by its code and scope, never by its message, which changes while it stands. It is told once it has
stood for ten minutes, and over once it has been away for as long: one that comes and goes is a single problem. Pure;
`due_notices` decides who is told when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certstore.model.json_facts import Kept
from certstore.model.text import shown

STANDS_AFTER = timedelta(minutes=10)
TOLD_ALONG_AFTER = timedelta(minutes=5)
"""A notice about one problem also has those that have stood for this long: the next may only follow an hour later."""
GONE_AFTER = timedelta(minutes=10)
MOST = 1000
"""Problems that are followed at once: a server may have as many upstreams as sites."""
_LONGEST_SCOPE, _LONGEST_MESSAGE = 200, 600

_TITLES = {
    "acme_differs": "acme or notify differ from those of the other nodes",
    "attempt_overdue": "an order hangs",
    "clock_off": "the clock is wrong",
    "clock_skew": "the clocks of two nodes differ",
    "cluster_absent": "the node takes no part in its cluster",
    "cluster_behind": "changes of other nodes can't be taken over",
    "cluster_cloned": "two machines run as the same node",
    "cluster_conflict": "two nodes changed the same site",
    "cluster_detached": "the engine of the cluster can't be reached",
    "cluster_key": "a key of the cluster is missing",
    "cluster_record_refused": "a record of the engine is refused",
    "contact_refused": "the CA refuses the contact",
    "disk_full": "the disk is full",
    "drop_refused": "a new main certificate was refused",
    "engine_foreign": "the engine belongs to another cluster",
    "engine_full": "the engine is full",
    "engine_lost_keys": "the engine has lost records",
    "engine_went_back": "the engine went back to an earlier state",
    "file_missing": "a file that settings name is missing",
    "joining": "the node has not taken over all sites yet",
    "listener_incomplete": "a listener serves only a part",
    "key_exposed": "a key may be in other hands",
    "key_rotation": "the change of the cluster's key is not complete",
    "live_unloadable": "certificates can't be loaded",
    "maintenance_stalled": "certificate maintenance has stopped",
    "main_expired": "the main certificate has expired",
    "main_not_yet_valid": "the main certificate is not valid yet",
    "newer_release": "another node runs a newer release",
    "no_main": "there is no main certificate",
    "no_workers": "no worker is serving",
    "node_behind": "a node is behind",
    "node_deaf": "a node takes no challenge tokens",
    "node_differs": "a node serves something else",
    "node_gone": "a node does not report",
    "not_adopted_here": "changes of other nodes can't be made here",
    "settings_refused": "the settings were refused",
    "store_read_only": "the store is read-only",
    "tls_fallback": "the TLS library is not the usual one",
    "upstream_down": "a server behind the edge is down",
    "workers_behind": "workers do not serve the latest state",
}


def title_of(key: str) -> str:
    """A few words for a problem, from its key: `the disk is full`, `a node does not report: edge-b`."""
    code, _, scope = key.partition(" ")
    title = _TITLES.get(code, code.replace("_", " "))
    return f"{title}: {scope}" if scope else title


@dataclass(frozen=True, slots=True)
class FoundProblem:
    """A problem as it is now. `scope` is what it concerns where a code can stand for several things, a server say.

    `is_common`: every node of a cluster finds it, so only the one that sends the warnings tells of it.
    """

    code: str
    scope: str
    message: str
    is_common: bool = False

    @property
    def key(self) -> str:
        return f"{self.code} {shown(self.scope, _LONGEST_SCOPE)}".rstrip()


@dataclass(frozen=True, slots=True)
class Sighting(Kept):
    """What is remembered of a problem. `gone`: since when it has not been found again."""

    since: datetime
    gone: datetime | None = None


@dataclass(frozen=True, slots=True)
class StandingProblem:
    """A problem that is there now, and has been, almost without a break, since then."""

    code: str
    key: str
    message: str
    since: datetime

    @property
    def scope(self) -> str:
        return self.key.partition(" ")[2]

    @property
    def title(self) -> str:
        return title_of(self.key)

    @property
    def episode(self) -> str:
        """Tells this occurrence from the next."""
        return self.since.isoformat(timespec="seconds")

    def has_stood(self, span: timedelta, now: datetime) -> bool:
        return now - self.since >= span


@dataclass(frozen=True, slots=True)
class Standing:
    """`problems` are there now, the oldest first. `lapsed` are the keys of others that were there a moment ago: neither
    told nor over.
    """

    problems: tuple[StandingProblem, ...] = ()
    lapsed: frozenset[str] = frozenset()


NONE_STANDING = Standing()


def by_key(found: Iterable[FoundProblem]) -> dict[str, FoundProblem]:
    """Problems of the same key become one, with the first one's message. A bounded number."""
    merged: dict[str, list[FoundProblem]] = {}
    for each in found:
        if each.key in merged or len(merged) < MOST:
            merged.setdefault(each.key, []).append(each)
    return {key: _one(alike) for key, alike in merged.items()}


def _one(alike: list[FoundProblem]) -> FoundProblem:
    first, more = alike[0], len(alike) - 1
    message = shown(first.message, _LONGEST_MESSAGE)
    return replace(first, message=f"{message} (and {more} more like it)" if more else message)


def next_sighting(before: Sighting | None, now: datetime, *, is_there: bool) -> Sighting | None:
    """What to remember from now on; None: nothing. Instants ahead of the clock are from before it was set back."""
    if before is not None and before.since > now:
        before = None
    gone_at = min(before.gone, now) if before is not None and before.gone is not None else None
    if before is not None and gone_at is not None and now - gone_at >= GONE_AFTER:
        before = None
    if is_there:
        return Sighting(before.since) if before is not None else Sighting(now)
    return Sighting(before.since, gone_at or now) if before is not None else None


def standing_of(found: Mapping[str, FoundProblem], sightings: Mapping[str, Sighting]) -> Standing:
    """`sightings` are those after `next_sighting`. A found problem that could not be remembered does not stand yet."""
    problems = [
        StandingProblem(each.code, key, each.message, sightings[key].since)
        for key, each in found.items()
        if key in sightings
    ]
    problems.sort(key=lambda problem: (problem.since, problem.key))
    return Standing(tuple(problems), frozenset(sightings.keys() - found.keys()))
