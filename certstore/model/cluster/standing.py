"""How a node stands in its cluster: what control writes down for `certedge status`, metrics and `/readyz`.

Values only; commands that read it need neither the engine nor the cluster's keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certstore.model import json_facts
from certstore.model.cluster.health import ClusterProblem, NodeStanding, NodeState
from certstore.model.metrics import Sample

DETACHED_AFTER = timedelta(seconds=30)
"""For less, nobody has to look."""
BEHIND_AFTER = timedelta(seconds=60)
HISTORY = frozenset({ClusterProblem.CONFLICT, ClusterProblem.ENGINE_WENT_BACK})
"""What the nodes have solved by themselves: to be seen for a day, not to be told."""
STALE_AFTER = timedelta(seconds=30)
"""Control writes every few seconds; older facts are those of one that has ended."""


@dataclass(frozen=True, slots=True)
class NodeFacts(json_facts.Kept):
    """One node, as this one sees it. `skew` is in seconds, how far its clock is ahead."""

    name: str
    role: str
    state: str
    behind: int = 0
    sites: int | None = None
    release: str | None = None
    skew: float | None = None
    problems: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, node: NodeStanding) -> NodeFacts:
        problems = tuple((str(code), message) for code, message in node.problems)
        skew = node.skew.total_seconds() if node.skew is not None else None
        return cls(node.name, node.role.value, node.state.value, node.behind, node.sites, node.release, skew, problems)


@dataclass(frozen=True, slots=True)
class ClusterStanding(json_facts.Kept):
    """`since` is when the node was attached or detached; `member` is the engine's member in use, and `reason` why there
    is none. `is_joining`: it has not yet seen everything since it became a member; of `to_compare` records, it has
    taken over `compared`. `behind_since`: from then on something could not be adopted. `unpublished` counts sites of
    which the others have yet to know something, `adoption_seconds` is how long the last change of another node took
    from its arrival until it was served here.
    """

    node: str
    cluster: str
    written_at: datetime
    is_attached: bool
    since: datetime
    summary: str
    member: str = ""
    reason: str = ""
    is_joining: bool = False
    compared: int = 0
    to_compare: int = 0
    behind_since: datetime | None = None
    unpublished: int = 0
    applied: int = 0
    nodes: tuple[NodeFacts, ...] = ()
    caretaker: str | None = None
    problems: tuple[tuple[str, str], ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    conflicts: int = 0
    adoption_seconds: float | None = None
    used_bytes: int | None = None

    def is_fresh(self, now: datetime) -> bool:
        return now - self.written_at < STALE_AFTER

    @property
    def line(self) -> str:
        """For the top of `certedge status`: "3 nodes, in step", or what is not as it should be."""
        if self.is_joining:
            progress = f", {self.compared:,} of {self.to_compare:,} records so far" if self.to_compare else ""
            return f"{self.node} is joining: not all sites are here yet{progress}"
        waiting = f"; {_sites(self.unpublished)} to publish" if self.unpublished else ""
        if not self.is_attached:
            return f"detached since {self.since:%Y-%m-%d %H:%M} UTC ({self.reason or 'no member answers'}){waiting}"
        return f"{self.summary}{waiting}"

    @property
    def others(self) -> tuple[NodeFacts, ...]:
        return tuple(each for each in self.nodes if each.name != self.node)

    @property
    def others_alive(self) -> tuple[NodeFacts, ...]:
        return tuple(each for each in self.others if each.state != NodeState.GONE)

    @property
    def others_with_all(self) -> int:
        """How many other nodes have all that this one has; none while something of this node is not published."""
        if self.unpublished or not self.is_attached:
            return 0
        return sum(each.state != NodeState.BEHIND for each in self.others_alive)

    @property
    def has_problems(self) -> bool:
        return bool(self.problems) or any(node.problems for node in self.nodes)

    def samples(self) -> Iterator[Sample]:
        """The metrics of the cluster."""
        yield Sample("certedge_cluster_attached", (), int(self.is_attached))
        yield Sample("certedge_cluster_unpublished", (), self.unpublished)
        yield Sample("certedge_cluster_caretaker", (), int(self.caretaker == self.node))
        own = next((node.behind for node in self.nodes if node.name == self.node), 0)
        yield Sample("certedge_cluster_behind", (), own)
        for state in NodeState:
            yield Sample("certedge_cluster_nodes", (state.value,), sum(node.state == state for node in self.nodes))
        for why, number in self.refused.items():
            yield Sample("certedge_cluster_refused_records_total", (why,), number)
        yield Sample("certedge_cluster_conflicts_total", (), self.conflicts)
        if self.adoption_seconds is not None:
            yield Sample("certedge_cluster_adoption_seconds", (), self.adoption_seconds)
        if self.used_bytes is not None:
            yield Sample("certedge_cluster_engine_db_bytes", (), self.used_bytes)


def detached(since: datetime, now: datetime, unpublished: int, reason: str) -> tuple[str, str] | None:
    """The problem of a node that can't reach the engine, once it lasts."""
    if now - since < DETACHED_AFTER:
        return None
    waiting = f", and {_sites(unpublished)} changed here are not on the other nodes" if unpublished else ""
    message = (
        f"this node can't reach the engine since {since:%Y-%m-%d %H:%M} UTC ({reason}): it serves what it has{waiting}."
        " Nothing is renewed meanwhile; what can't wait, order on one node: certedge cert request SITE --detached"
    )
    return ClusterProblem.DETACHED.value, message


def _sites(count: int) -> str:
    return "1 site" if count == 1 else f"{count} sites"
