"""Says at the end of a change how many other nodes of the cluster have it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certstore.cli.context import Edge
from certstore.cli.lazy import cluster_standing
from certstore.cli.output import GOOD, WARNING, Cell
from certstore.files.clock import utc_now

if TYPE_CHECKING:
    from certstore.model.cluster.standing import ClusterStanding

WAIT_SECONDS = 2.0
_PAUSE = 0.05


def wait_for_others(edge: Edge) -> ClusterStanding | None:
    """How this node stands after a change that was just made: at the latest after WAIT_SECONDS, or as soon as all other
    nodes that live have it. None without other nodes, or while no control runs.
    """
    if edge.settings.cluster is None:
        return None
    changed_at, deadline = utc_now(), time.monotonic() + WAIT_SECONDS
    while True:
        standing = cluster_standing.read_standing(edge.layout, utc_now())
        if standing is None or not standing.others:
            return None
        if _has_spread(standing, changed_at):
            return standing
        if time.monotonic() > deadline:
            # What was written before the change says nothing of it.
            return standing if standing.written_at >= changed_at else replace(standing, unpublished=1)
        time.sleep(_PAUSE)


def have_it(standing: ClusterStanding) -> Cell:
    """For people: "live here; 2 of 2 other nodes have it"."""
    if not standing.is_attached:
        return Cell("live here; the other nodes get it as soon as the cluster's engine can be reached", WARNING)
    count, number = standing.others_with_all, len(standing.others)
    noun = "other node has" if number == 1 else "other nodes have"
    if count == number:
        return Cell(f"live here; {count} of {number} {noun} it", GOOD)
    return Cell(f"live here; {count} of {number} {noun} it so far (certedge cluster status)", WARNING)


def have_it_facts(standing: ClusterStanding) -> dict[str, Any]:
    """For --json."""
    return {"others": len(standing.others), "have_it": standing.others_with_all}


def _has_spread(standing: ClusterStanding, changed_at: datetime) -> bool:
    """Whether there is nothing to wait for any longer."""
    is_told = standing.written_at >= changed_at
    return is_told and (not standing.is_attached or standing.others_with_all == len(standing.others_alive))
