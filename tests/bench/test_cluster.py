"""The measurement of a cluster at a tiny size: it yields figures, and nothing was lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.cluster import main


@pytest.mark.peer
@pytest.mark.slow
def test_a_small_cluster_is_measured(tmp_path: Path) -> None:
    assert main(["8", "--drops", "3", "--outage", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures) == 11
    assert figures["the engine's database then"].endswith("KB a site")
    assert "none failed" in figures["handshakes from the engine's end to then"]
