"""What control wrote down about its cluster, as commands and probes read it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.cluster.standing import STALE_AFTER, ClusterStanding
from certstore.model.layout import Layout
from certstore.monitoring.cluster_standing import read_standing

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
STANDING = ClusterStanding("edge-a", "c" * 16, NOW, True, NOW, "1 node, in step")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.worker_reports.mkdir(parents=True)
    return layout


def test_it_is_read(layout: Layout) -> None:
    layout.cluster_standing.write_text(json.dumps(STANDING.to_json()))
    assert read_standing(layout, NOW + timedelta(seconds=1)) == STANDING


def test_what_was_written_long_ago_is_not(layout: Layout) -> None:
    layout.cluster_standing.write_text(json.dumps(STANDING.to_json()))
    assert read_standing(layout, NOW + STALE_AFTER) is None


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"node": "edge-a"}', "[" * 100_000])
def test_rubbish_is_nothing(text: str, layout: Layout) -> None:
    layout.cluster_standing.write_text(text)
    assert read_standing(layout, NOW) is None


def test_without_a_file_there_is_nothing(layout: Layout) -> None:
    assert read_standing(layout, NOW) is None
