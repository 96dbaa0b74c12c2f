"""How a node stands, in one line and as metrics; it survives being written down."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.cluster.health import NodeStanding, NodeState
from certstore.model.cluster.records import Role
from certstore.model.cluster.standing import DETACHED_AFTER, STALE_AFTER, ClusterStanding, NodeFacts, detached
from certstore.model.metrics import FAMILIES

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NODES = (
    NodeFacts("edge-a", "edge", "in_step", sites=5),
    NodeFacts("edge-b", "edge", "behind", behind=2, problems=(("node_behind", "edge-b is 2 sites behind"),)),
)
STANDING = ClusterStanding("edge-a", "c" * 16, NOW, True, NOW, "2 nodes, edge-b 2 behind", nodes=NODES)


@pytest.mark.parametrize(
    ("standing", "line"),
    [
        pytest.param(STANDING, "2 nodes, edge-b 2 behind", id="attached"),
        pytest.param(replace(STANDING, unpublished=1), "2 nodes, edge-b 2 behind; 1 site to publish", id="waiting"),
        pytest.param(
            replace(STANDING, is_joining=True, compared=4210, to_compare=20001),
            "edge-a is joining: not all sites are here yet, 4,210 of 20,001 records so far",
            id="joining for a while",
        ),
        pytest.param(replace(STANDING, is_joining=True), "edge-a is joining: not all sites are here yet", id="joining"),
        pytest.param(
            replace(STANDING, is_attached=False, reason="refused", unpublished=3),
            "detached since 2026-11-01 12:00 UTC (refused); 3 sites to publish",
            id="detached",
        ),
    ],
)
def test_one_line_says_it(standing: ClusterStanding, line: str) -> None:
    assert standing.line == line


def test_it_can_be_written_down() -> None:
    whole = replace(STANDING, refused={"stale": 2}, problems=(("engine_full", "full"),), behind_since=NOW)
    assert ClusterStanding.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_a_node_is_taken_from_its_standing() -> None:
    skew = timedelta(minutes=5)
    node = NodeStanding("edge-c", Role.FRONT, NodeState.IN_STEP, 0, 7, "1.0", skew, (("clock_skew", "ahead"),))
    assert NodeFacts.of(node) == NodeFacts("edge-c", "front", "in_step", 0, 7, "1.0", 300.0, (("clock_skew", "ahead"),))


def test_old_facts_do_not_count() -> None:
    assert STANDING.is_fresh(NOW + STALE_AFTER / 2)
    assert not STANDING.is_fresh(NOW + STALE_AFTER)


def test_a_short_absence_is_no_problem() -> None:
    assert detached(NOW, NOW + DETACHED_AFTER / 2, 0, "refused") is None
    found = detached(NOW, NOW + DETACHED_AFTER, 2, "refused")
    assert found is not None
    assert found[0] == "cluster_detached"
    assert "2 sites changed here" in found[1]


def test_every_number_has_a_family() -> None:
    whole = replace(STANDING, refused={"stale": 2}, adoption_seconds=0.2, used_bytes=5, caretaker="edge-a")
    samples = {(sample.name, sample.labels): sample.value for sample in whole.samples()}
    assert {name for name, _ in samples} <= FAMILIES.keys()
    assert samples["certedge_cluster_nodes", ("behind",)] == 1
    assert samples["certedge_cluster_caretaker", ()] == 1
    assert samples["certedge_cluster_refused_records_total", ("stale",)] == 2
