"""A node's problems in words: what the other nodes are told of it, and what the nodes have solved by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum

from certstore.cluster.follower import Follower
from certstore.cluster.named_files import NamedFiles
from certstore.model.cluster.health import ClusterProblem
from certstore.model.text import listed
from certstore.store.writer_state import SiteProblem

_NAMED, _SHOWN = 10, 300
"""Sites with a problem that the other nodes are told, and characters of each."""


def told_to_others(follower: Follower, files: NamedFiles | None) -> tuple[tuple[str, str], ...]:
    """They show it with this node's name. Without `files`, this node needs none."""
    lacking = sorted(follower.not_adopted.items())
    missing = files.missing() if files is not None else []
    return (*_named(SiteProblem.NOT_ADOPTED_HERE, lacking), *_named(ClusterProblem.FILE_MISSING, missing))


def solved_lately(follower: Follower, now: datetime) -> Iterator[tuple[str, str]]:
    """What needs nobody any more, and a person may want to know."""
    if went_back := follower.went_back.since(now):
        count = "1 record" if len(went_back) == 1 else f"{len(went_back)} records"
        message = (
            f"in the last day, the engine had {count} in an older state than this node, or not at all, as after it was "
            "restored from a snapshot: what this node has was written again"
        )
        yield ClusterProblem.ENGINE_WENT_BACK.value, message
    if sites := follower.conflicts.since(now):
        message = (
            f"in the last day, {listed(sites)} changed here and on another node at the same time: "
            f"`certedge cert history {sites[0]}` says which change counts, and why"
        )
        yield ClusterProblem.CONFLICT.value, message


def left_out(nodes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The nodes that orders no longer wait for."""
    for node in nodes:
        message = (
            f"{node} takes no challenge tokens, so orders go on without it: where a name has its address, the CA may "
            f"ask it and fail the order. Look at the log of {node}"
        )
        yield ClusterProblem.NODE_DEAF.value, message


def _named(code: StrEnum, found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for site, why in found[:_NAMED]:
        yield code.value, f"{site}: {why[:_SHOWN]}"
    if len(found) > _NAMED:
        yield code.value, f"and {len(found) - _NAMED} more"
