"""What a changing command says of the other nodes."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from certstore.cli import others
from certstore.cli.others import have_it, have_it_facts, wait_for_others
from certstore.model.cluster.standing import ClusterStanding, NodeFacts
from certstore.model.layout import Layout

NOW = datetime.now(UTC)


def standing(*states: str, **changes: Any) -> ClusterStanding:
    nodes = tuple(NodeFacts(f"edge-{letter}", "edge", state) for letter, state in zip("abc", states, strict=False))
    at = datetime.now(UTC) + timedelta(hours=1)
    whole = ClusterStanding("edge-a", "cluster", at, True, NOW, "", nodes=nodes)
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def edge(tmp_path: Path) -> Any:
    layout = Layout(tmp_path)
    layout.cluster_standing.parent.mkdir(parents=True)
    return SimpleNamespace(layout=layout, settings=SimpleNamespace(cluster=object()))


@pytest.fixture
def write(edge: Any) -> Callable[[ClusterStanding], None]:
    return lambda found: edge.layout.cluster_standing.write_text(json.dumps(found.to_json())) and None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (standing("in_step", "in_step", "in_step"), "live here; 2 of 2 other nodes have it"),
        (standing("in_step", "in_step"), "live here; 1 of 1 other node has it"),
        (
            standing("in_step", "in_step", "gone"),
            "live here; 1 of 2 other nodes have it so far (certedge cluster status)",
        ),
        (
            standing("in_step", "in_step", "behind"),
            "live here; 1 of 2 other nodes have it so far (certedge cluster status)",
        ),
        (
            standing("in_step", "in_step", "in_step", unpublished=1),
            "live here; 0 of 2 other nodes have it so far (certedge cluster status)",
        ),
        (
            standing("in_step", "gone", is_attached=False),
            "live here; the other nodes get it as soon as the cluster's engine can be reached",
        ),
    ],
)
def test_it_is_said_how_many_have_it(found: ClusterStanding, text: str) -> None:
    assert have_it(found).text == text


def test_facts_for_programs() -> None:
    assert have_it_facts(standing("in_step", "in_step", "gone")) == {"others": 2, "have_it": 1}


def test_without_a_cluster_nothing_is_waited_for(edge: Any) -> None:
    edge.settings.cluster = None
    assert wait_for_others(edge) is None


def test_a_control_that_does_not_run_is_not_waited_for(edge: Any) -> None:
    assert wait_for_others(edge) is None


def test_a_node_that_is_alone_says_nothing(edge: Any, write: Any) -> None:
    write(standing("in_step"))
    assert wait_for_others(edge) is None


@pytest.mark.parametrize("states", [("in_step", "in_step"), ("in_step", "gone", "in_step")])
def test_it_returns_as_soon_as_all_have_it(edge: Any, write: Any, states: tuple[str, ...]) -> None:
    write(standing(*states))
    assert wait_for_others(edge) is not None


def test_an_engine_that_is_away_is_not_waited_for(edge: Any, write: Any) -> None:
    write(standing("in_step", "gone", is_attached=False))
    assert wait_for_others(edge) is not None


@pytest.mark.parametrize("changes", [{"unpublished": 1}, {"age": 20}], ids=["not published", "from before the change"])
def test_others_are_waited_for_only_so_long(
    edge: Any, write: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(others, "WAIT_SECONDS", 0.0)
    if (age := changes.pop("age", None)) is not None:
        changes = {"written_at": datetime.now(UTC) - timedelta(seconds=age)}
    write(standing("in_step", "in_step", **changes))
    found = wait_for_others(edge)
    assert found is not None
    assert have_it(found).text == "live here; 0 of 1 other node has it so far (certedge cluster status)"
