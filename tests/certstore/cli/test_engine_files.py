"""`certedge cluster engine-files`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.certstore.cli.command import Ran, certedge

THREE = "edge-a=10.0.0.11,edge-b=10.0.0.12,witness=2001:db8::13"


def engine_files(folder: Path, *words: str) -> Ran:
    return certedge(folder, "cluster", "engine-files", *words, config=False)


def test_files_are_written_for_their_owner_alone_and_the_next_steps_are_shown(tmp_path: Path) -> None:
    ran = engine_files(tmp_path, "--members", THREE)
    assert ran.code == 0, ran.err
    assert "scp -r engine/members/edge-b root@10.0.0.12:" in ran.out
    assert "scp -r engine/members/witness root@[2001:db8::13]:" in ran.out
    assert "certedge cluster init --engine https://10.0.0.11:2379 --engine https://10.0.0.12:2379" in ran.out
    made = list((tmp_path / "engine").rglob("*"))
    assert len(made) > 15
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600, 0o700}


def test_nodes_may_be_others_than_members(tmp_path: Path) -> None:
    ran = engine_files(tmp_path, "--members", THREE, "--nodes", "edge-a, mail-1", "--out", "there", "--json")
    assert ran.json["nodes"] == ["edge-a", "mail-1"]
    assert ran.json["engine"] == ["https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://[2001:db8::13]:2379"]
    assert sorted(path.name for path in (tmp_path / "there/nodes").iterdir()) == ["edge-a", "mail-1"]
    assert all((tmp_path / "there" / name).is_file() for name in ran.json["files"])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    ran = engine_files(tmp_path, "--members", THREE)
    assert ran.code == 1
    assert "engine exists already" in ran.err
    assert list((tmp_path / "engine").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--members", "edge-a=10.0.0.11,edge-b=10.0.0.12"), "2 members: use 3 or 5"),
        (("--members", "edge-a"), "expected NAME=ADDRESS"),
        (("--members", THREE, "--nodes", "../x"), "'../x' can't be the name of a node"),
    ],
)
def test_wrong_usage_writes_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ran = engine_files(tmp_path, *words)
    assert ran.code == 2
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []
