"""Finding a Python: any supported version will do, old ones are skipped, and without one there is advice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "env", "dirname", "ls", "cat", "grep", "cksum", "rm")


@pytest.fixture
def bare_machine(tmp_path: Path) -> Path:
    """A folder that serves as the whole PATH: the shell's tools, and an old Python under every name that is tried."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not on this machine"))
    for name in ("python3", "python"):
        old = folder / name
        old.write_text("#!/usr/bin/env bash\nexit 1\n")
        old.chmod(0o755)
    return folder


def run_shell(bare_machine: Path, script: str) -> subprocess.CompletedProcess[str]:
    working_copy = bare_machine.parent / "copy"
    shutil.copytree(ROOT / "deploy", working_copy / "deploy", dirs_exist_ok=True)
    environment = {"PATH": str(bare_machine), "HOME": str(bare_machine.parent)}
    bash = str(bare_machine / "bash")
    return subprocess.run(
        [bash, "-euo", "pipefail", "-c", script],
        cwd=working_copy, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_without_a_python_quickstart_says_what_to_install(bare_machine: Path) -> None:
    run = run_shell(bare_machine, "deploy/quickstart --once")
    assert run.returncode == 1
    assert "Python 3.12 or newer was not found" in run.stderr
    assert "apt install python3" in run.stderr
    assert "uv python install" in run.stderr


def test_python_in_path_is_found(bare_machine: Path) -> None:
    (bare_machine / "python3.12").symlink_to(os.path.realpath(sys.executable))
    run = run_shell(bare_machine, ". deploy/python-env.sh; find_python")
    assert run.returncode == 0, run.stderr


def test_python_known_only_to_pyenv_is_found(bare_machine: Path) -> None:
    folder = bare_machine.parent / ".pyenv" / "versions" / "3.12.9" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to(os.path.realpath(sys.executable))
    run = run_shell(bare_machine, ". deploy/python-env.sh; find_python")
    assert run.returncode == 0, run.stderr


def test_old_python_is_skipped(bare_machine: Path) -> None:
    run = run_shell(bare_machine, ". deploy/python-env.sh; find_python")
    assert (run.returncode, run.stdout) == (1, "")
