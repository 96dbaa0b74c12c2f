"""Units for where the program, edge.yaml and the store really are; systemd itself reads them."""

import subprocess
from pathlib import Path

import pytest

from certstore.cli.print_unit import UNITS, _folder
from tests.certstore.cli.command import REPOSITORY, certedge, write_edge
from tests.peers import require_peer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_edge(tmp_path)
    return tmp_path


def test_every_unit_of_the_repository_is_one_of_them() -> None:
    assert _folder() == REPOSITORY / "deploy" / "systemd"
    assert {path.name for path in _folder().iterdir()} - {"README.md"} == set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_without_settings_a_unit_is_as_in_the_repository_but_for_the_program(tmp_path: Path, unit: str) -> None:
    ran = certedge(tmp_path, "print-unit", unit, config=False)
    expected = (REPOSITORY / "deploy" / "systemd" / unit).read_text(encoding="utf-8").splitlines()
    changed = [line for line in ran.out.splitlines() if line not in expected]
    assert ran.code == 0
    assert all(line.startswith(("ExecStart=", "ExecReload=")) and "edge_addon.cli" in line for line in changed)


def test_the_service_runs_this_program_on_these_settings_as_this_user(folder: Path) -> None:
    lines = certedge(folder, "print-unit", "--user", "mail-edge", "--group", "mail").out.splitlines()
    config, store = folder / "edge.yaml", folder / "store"
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert start.endswith(f"-m edge_addon.cli run --config {config}")
    assert {"User=mail-edge", "Group=mail", f"ReadWritePaths={store}"} <= set(lines)


def test_path_units_watch_the_store_of_these_settings(folder: Path) -> None:
    watched = certedge(folder, "print-unit", "certedge-live@.path").out
    assert f"PathChanged={folder / 'store'}/stamps/main" in watched


def test_odd_paths_are_written_as_systemd_reads_them(tmp_path: Path) -> None:
    odd = tmp_path / "100% mail"
    odd.mkdir()
    write_edge(odd)
    printed = certedge(odd, "print-unit").out
    assert f'run --config "{tmp_path}/100%% mail/edge.yaml"' in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("certedge.timer",), "there is no such unit"),
        (("--user", "a b"), "is no name of a user"),
        (("--user", "x\nExecStartPre=/bin/sh"), "is no name of a user"),
        (("--group", ""), "is no name of a user"),
    ],
)
def test_what_makes_no_unit_is_wrong_usage(folder: Path, words: tuple[str, ...], says: str) -> None:
    ran = certedge(folder, "print-unit", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_systemd_finds_no_fault_in_the_service(folder: Path) -> None:
    unit = folder / "certedge.service"
    unit.write_text(certedge(folder, "print-unit", "--user", "root", "--group", "root").out)
    command = [str(require_peer("systemd-analyze")), "verify", "--man=no", "--recursive-errors=no", str(unit)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
