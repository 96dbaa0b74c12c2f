"""Reads how this node stands in its cluster, as control writes it down; commands and probes share it."""

from __future__ import annotations

import json
from datetime import datetime

from certstore.model.cluster.standing import ClusterStanding
from certstore.model.layout import Layout

_LIMIT = 4 << 20
"""Bytes: some thousand nodes, or problems."""


def read_standing(layout: Layout, now: datetime) -> ClusterStanding | None:
    """None where nobody has written for a while: no control process runs, or it takes no part in a cluster."""
    try:
        with layout.cluster_standing.open("rb") as file:
            standing = ClusterStanding.from_json(json.loads(file.read(_LIMIT)))
    except (OSError, ValueError, RecursionError):
        return None
    return standing if standing.is_fresh(now) else None
