"""How a cluster stands, as control would write it down for the console."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from certstore.model.cluster.standing import ClusterStanding, NodeFacts
from tests.certstore.admin.console import RunningConsole

SECTION = {"engine": ["https://10.0.0.11:2379"], "ca_file": "engine-ca.pem", "client_cert": "engine.pem"}
"""Of edge.yaml. The console only reads what control has written."""


def standing_of(console: RunningConsole, **changes: Any) -> ClusterStanding:
    """Three nodes; one is behind, one is not heard."""
    now = console.clock()
    facts: dict[str, Any] = {
        "node": "edge-a",
        "cluster": "0" * 16,
        "written_at": now,
        "is_attached": True,
        "since": now - timedelta(hours=3),
        "summary": "3 nodes, edge-b 14 behind; edge-c gone",
        "member": "https://10.0.0.11:2379",
        "nodes": (
            NodeFacts("edge-a", "edge", "in_step", sites=51, release="0.1.0"),
            NodeFacts("edge-b", "front", "behind", 14, 37, "0.1.0", problems=(("node_behind", "edge-b is 14 behind"),)),
            NodeFacts("edge-c", "edge", "gone", problems=(("node_gone", "edge-c does not report: <b>it is stopped"),)),
        ),
        "caretaker": "edge-a",
        "used_bytes": 8_400_000,
    }
    return ClusterStanding(**facts | changes)


def write_standing(console: RunningConsole, standing: ClusterStanding) -> None:
    path = console.writer.layout.cluster_standing
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(standing.to_json()))
