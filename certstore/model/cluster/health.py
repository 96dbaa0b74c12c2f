"""How the nodes of a cluster stand, as one of them sees them, and what each fault is called.

From what nodes say about themselves (`Live`), who is a member, and at which revision each record last changed. The
same answers go to status, console, metrics and mails. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Live, Member, Role
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.text import listed

CLOCK_TOLERANCE = timedelta(seconds=10)
LEASE = timedelta(seconds=10)
"""How long a node counts as alive after it was heard last: the ttl of `n/live`."""


class ClusterProblem(StrEnum):
    """Codes of what can be wrong, for records, metrics and mails."""

    DETACHED = "cluster_detached"
    ENGINE_FULL = "engine_full"
    ENGINE_WENT_BACK = "engine_went_back"
    ENGINE_FOREIGN = "engine_foreign"
    ENGINE_LOST_KEYS = "engine_lost_keys"
    CONFLICT = "cluster_conflict"
    RECORD_REFUSED = "cluster_record_refused"
    KEY_MISSING = "cluster_key"
    KEY_ROTATION = "key_rotation"
    NEWER_RELEASE = "newer_release"
    CLONED = "cluster_cloned"
    CLOCK_SKEW = "clock_skew"
    NODE_GONE = "node_gone"
    NODE_BEHIND = "node_behind"
    NODE_DIFFERS = "node_differs"
    NODE_DEAF = "node_deaf"
    ACME_DIFFERS = "acme_differs"
    FILE_MISSING = "file_missing"


class NodeState(StrEnum):
    IN_STEP = "in_step"
    BEHIND = "behind"
    DIFFERS = "differs"
    """It has seen everything, and serves something else: perhaps it can't load a certificate."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """One member. `behind` counts the sites that changed since what it has applied; facts are None when it is gone."""

    name: str
    role: Role
    state: NodeState
    behind: int = 0
    sites: int | None = None
    release: str | None = None
    skew: timedelta | None = None
    """How far its clock is ahead of ours, where that is more than can be tolerated."""
    problems: tuple[tuple[ClusterProblem | str, str], ...] = ()


def node_standings(
    members: Iterable[Member], lives: Mapping[str, Live], changed: Mapping[str, int], now: datetime
) -> list[NodeStanding]:
    """By name. `changed` holds for each site the revision at which one of its records last changed."""
    behind = {
        name: sum(revision > live.applied for revision in changed.values())
        for name, live in lives.items()
    }  # fmt: skip
    whole = {name: live.heads for name, live in lives.items() if not behind[name] and not live.is_partial}
    usual = Counter(whole.values()).most_common(1)
    odd = {name for name, heads in whole.items() if heads != usual[0][0]}
    return [
        _standing(member, lives.get(member.name), behind.get(member.name, 0), member.name in odd, now)
        for member in sorted(members, key=lambda member: member.name)
        if not member.has_left
    ]


def _standing(member: Member, live: Live | None, behind: int, is_odd: bool, now: datetime) -> NodeStanding:
    name = member.name
    if live is None:
        message = f"{name} does not report: it is stopped, can't reach the engine, or was not reloaded after it joined"
        return NodeStanding(name, member.role, NodeState.GONE, problems=((ClusterProblem.NODE_GONE, message),))
    state, problems = NodeState.IN_STEP, list[tuple[ClusterProblem | str, str]]()
    if behind:
        state = NodeState.BEHIND
        problems.append((ClusterProblem.NODE_BEHIND, f"{name} is {sites_behind(behind)}"))
    elif is_odd:
        state = NodeState.DIFFERS
        message = f"{name} has seen all changes, and serves something else: certedge status on {name} says what"
        problems.append((ClusterProblem.NODE_DIFFERS, message))
    if (skew := clock_skew(live.clock, now)) is not None:
        direction = "ahead of" if skew > timedelta() else "behind"
        problems.append((ClusterProblem.CLOCK_SKEW, f"the clock of {name} is {_rough(skew)} {direction} ours"))
    problems += live.problems
    return NodeStanding(name, member.role, state, behind, live.sites, live.release, skew, tuple(problems))


def clock_skew(clock: datetime, now: datetime) -> timedelta | None:
    """How far another node's clock is ahead of ours; None while it may be right. What it said may be as old as its
    lease.
    """
    skew = clock - now
    return skew if skew > CLOCK_TOLERANCE or skew < -(CLOCK_TOLERANCE + LEASE) else None


def last_changes(paths: ClusterPaths, modified: Iterable[tuple[str, int]]) -> dict[str, int]:
    """For each site the highest revision of its declaration and its versions, from all keys of the cluster."""
    changed: dict[str, int] = {}
    for path, revision in modified:
        where = paths.parse(path)
        if where is not None and where.shelf in (Shelf.SITE, Shelf.HEAD, Shelf.PREV):
            changed[where.name] = max(revision, changed.get(where.name, 0))
    return changed


def summary(nodes: Sequence[NodeStanding]) -> str:
    """One line: "3 nodes, in step", or who is not."""
    if not nodes:
        return "no members"
    count = f"{len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}"
    gone = [each.name for each in nodes if each.state is NodeState.GONE]
    apart = [f"{each.name} {each.behind} behind" for each in nodes if each.state is NodeState.BEHIND]
    apart += [f"{each.name} serves something else" for each in nodes if each.state is NodeState.DIFFERS]
    apart += [f"{listed(gone)} gone"] if gone else []
    return f"{count}, {'; '.join(apart) or 'in step'}"


def problem_of(refused: Refused) -> tuple[ClusterProblem, str]:
    """What a record that does not count is called, and what to do about it."""
    match refused.why:
        case Refusal.NEWER_RELEASE:
            return ClusterProblem.NEWER_RELEASE, f"{refused}; update certedge on this node"
        case Refusal.UNKNOWN_KEY | Refusal.RETIRED_KEY:
            return ClusterProblem.KEY_MISSING, f"{refused}; if this node was away for long, join it anew"
    return ClusterProblem.RECORD_REFUSED, f"{refused}; it is ignored, and what this node has stays"


class Presence(StrEnum):
    """What a node that starts makes of what `n/live` says under its own name."""

    TAKE = "take"
    WAIT = "wait"
    """Until the lease of an earlier start of this node has ended."""
    CLONED = "cloned"


def presence(there: str | None, mine: str, waited: timedelta) -> Presence:
    """`there` and `mine` are instances. An earlier start's lease ends within its ttl; one that stays is kept alive by
    another machine, a copy of this one.
    """
    if there is None or there == mine:
        return Presence.TAKE
    return Presence.WAIT if waited <= 2 * LEASE else Presence.CLONED


def sites_behind(number: int) -> str:
    return f"{number} site{'s' if number != 1 else ''} behind"


def _rough(skew: timedelta) -> str:
    seconds = round(abs(skew).total_seconds())
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"
