"""The cluster over the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certstore.admin.clusters import SECTION, standing_of, write_standing
from tests.certstore.admin.console import RunningConsole, running_console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store", {"cluster": SECTION}) as running:
        yield running


def test_the_api_says_the_same_as_the_command_line(console: RunningConsole) -> None:
    standing = standing_of(console)
    write_standing(console, standing)
    facts = console.api().get("/api/v1/cluster").json["cluster"]
    assert facts == {**standing.to_json(), "line": standing.line}
    assert [(each["name"], each["state"]) for each in facts["nodes"]] == [
        ("edge-a", "in_step"), ("edge-b", "behind"), ("edge-c", "gone")
    ]  # fmt: skip


def test_without_a_cluster_there_is_nothing_to_say(tmp_path: Path) -> None:
    with running_console(tmp_path / "store") as alone:
        assert alone.api().get("/api/v1/cluster").json == {"cluster": None}
