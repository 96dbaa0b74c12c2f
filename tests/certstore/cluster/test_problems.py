"""A node's problems in words."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from certstore.cluster.lately import Lately
from certstore.cluster.problems import left_out, solved_lately, told_to_others

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def follower(**has: Any) -> Any:
    return SimpleNamespace(went_back=Lately(), conflicts=Lately(), not_adopted={}, **has)


def files(*missing: tuple[str, str]) -> Any:
    return SimpleNamespace(missing=lambda: list(missing))


def test_nothing_is_said_of_a_node_without_problems() -> None:
    assert told_to_others(follower(), files()) == ()
    assert not list(solved_lately(follower(), NOW))


def test_a_node_that_serves_no_web_needs_no_files() -> None:
    assert told_to_others(follower(), None) == ()


def test_some_sites_are_named_and_the_others_are_counted() -> None:
    found = follower()
    found.not_adopted.update({f"s{number:02}.test": "x" * 1000 for number in range(12)})
    told = told_to_others(found, files(("a.test", "upstream: ca_file: there is no ca.pem")))
    assert [code for code, _ in told] == ["not_adopted_here"] * 11 + ["file_missing"]
    assert told[10][1] == "and 2 more"
    assert max(len(words) for _, words in told) < 320


@pytest.mark.parametrize(("count", "words"), [(1, "1 record in"), (3, "3 records in")])
def test_an_engine_that_went_back(count: int, words: str) -> None:
    found = follower()
    for number in range(count):
        found.went_back.note(f"d/head/s{number}.test", NOW)
    ((code, message),) = solved_lately(found, NOW)
    assert code == "engine_went_back"
    assert words in message


def test_changes_that_met() -> None:
    found = follower()
    found.conflicts.note("a.test", NOW)
    ((code, message),) = solved_lately(found, NOW)
    assert code == "cluster_conflict"
    assert "`certedge cert history a.test`" in message


def test_nodes_that_orders_no_longer_wait_for() -> None:
    ((code, message),) = left_out(["edge-c"])
    assert code == "node_deaf"
    assert "edge-c takes no challenge tokens" in message
