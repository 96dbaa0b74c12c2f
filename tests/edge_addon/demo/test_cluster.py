"""The demo of a cluster with real nodes and a real etcd, and whether its steps can fail."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from edge_addon.demo import cluster, engine
from edge_addon.demo.cluster import FIRST, Stage, run_cluster
from edge_addon.demo.show import run_demo
from tests.peers import require_peer

pytestmark = [pytest.mark.peer, pytest.mark.slow]
CERTEDGE = Path(sys.executable).with_name("certedge")


def test_every_step_passes(tmp_path: Path) -> None:
    require_peer("etcd")
    command = [str(CERTEDGE), "demo", "--nodes", "3", "--once", "--dir", str(tmp_path / "demo")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall("^✔", ran.stdout, re.MULTILINE)) == 7
    assert "✔ The cluster: 3 nodes, in step" in ran.stdout
    assert "edge-a$ certedge cluster init --node edge-a" in ran.stdout
    assert "PRIVATE KEY" not in ran.stdout + "".join(path.read_text() for path in tmp_path.rglob("*.log"))


def test_a_node_that_is_not_there_fails_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_peer("etcd")
    monkeypatch.setattr(cluster, "SERVED_SECONDS", 5.0)

    def stop_one(stage: Stage) -> None:
        edge = stage.nodes[1].edge
        assert edge is not None
        edge.__exit__()

    output = io.StringIO()
    run = partial(run_cluster, count=2, once=True, disturb=stop_one)
    assert run_demo(tmp_path / "demo", once=True, output=output, run=run) == 1
    failed = [line for line in output.getvalue().splitlines() if line.startswith("✘")]
    assert any(FIRST in line and "edge-b did not serve it" in line for line in failed)
    assert "steps FAILED" in output.getvalue()


def test_without_etcd_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SYSTEM_PATH", str(tmp_path))
    output = io.StringIO()
    run = partial(run_cluster, count=2, once=True)
    assert run_demo(tmp_path / "demo", once=True, output=output, run=run) == 1
    assert "apt install etcd-server" in output.getvalue()
