"""The wheel alone is the whole program: built from the sdist, installed anywhere, run far from the repository."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from certstore.cli.print_unit import UNITS

ROOT = Path(__file__).parents[2]
PACKAGES = ("certstore", "edge_addon")


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    ran = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, f"{words}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def build(source: Path, target: Path, kind: str) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target, cwd=source)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, folder / "built", "sdist")) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return source


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sdist, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel was installed into; what it needs is there already."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", folder, wheel, cwd=folder)
    return folder


def certedge(installed: Path, cwd: Path, *words: str | Path) -> str:
    program = ("-P", "-m", "edge_addon.cli")  # -P: nothing from the working directory
    return run(sys.executable, *program, *words, cwd=cwd, PYTHONPATH=str(installed), CERTEDGE_CONFIG="")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says which files there are")
def test_it_has_every_file_of_the_packages_and_the_units(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = run("git", "ls-files", *PACKAGES, cwd=ROOT).splitlines()
    documents = run("git", "ls-files", "deploy", "README.md", "CHANGELOG.md", "LICENSE", cwd=ROOT).splitlines()
    brought = (
        *(f"certstore/cli/docs/{name}" for name in documents),
        *(f"certstore/cli/units/{name}" for name in UNITS),
    )
    assert inside == {*tracked, *brought}


def test_the_sdist_has_what_runs_the_tests(sdist: Path) -> None:
    for name in ("tests/run", "deploy/quickstart", "README.md", "LICENSE", "pyproject.toml"):
        assert (sdist / name).exists(), name


def test_pages_come_with_what_they_link_to(installed: Path, tmp_path: Path) -> None:
    """The README's other audience has a clone: only it sees tests/."""
    listed = json.loads(certedge(installed, tmp_path, "docs", "--json"))["pages"]
    assert {"acme", "cluster", "operations", "readme"} <= {each["page"] for each in listed}
    dead = []
    for path in (Path(each["path"]) for each in listed):
        assert path.is_relative_to(installed)
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8")):
            target = (path.parent / link).resolve()
            if not target.exists() and "/tests/" not in str(target):
                dead.append((path.name, link))
    assert dead == []
    assert certedge(installed, tmp_path, "docs", "operations").startswith("# ")


def test_commands_run_from_it(installed: Path, tmp_path: Path) -> None:
    assert certedge(installed, tmp_path, "--version").startswith("certedge 0.")
    certedge(installed, tmp_path, "init", "--host", "mail.install.test", "--dir", tmp_path / "etc")
    config = tmp_path / "etc" / "edge.yaml"
    certedge(installed, tmp_path, "check-config", "--config", config)
    assert str(config) in certedge(installed, tmp_path, "print-unit", "--config", config)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_runs_from_it(installed: Path, tmp_path: Path) -> None:
    """Edge, workers, console, store and mails, with every file that they read."""
    printed = certedge(installed, tmp_path, "demo", "--once", "--dir", tmp_path / "demo")
    assert str(ROOT) not in printed
