"""Every example in deploy/ passes `check-config`, as an administrator would run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from certstore.model.settings.loading import parse_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
CERTEDGE = Path(sys.executable).with_name("certedge")
EXAMPLES = sorted(DEPLOY.glob("*/edge.yaml"))


def check_config(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(CERTEDGE), "check-config", "--json", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_there_are_examples() -> None:
    assert {path.parent.name for path in EXAMPLES} >= {"one-server", "mail-server", "behind-balancer"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_is_accepted(path: Path) -> None:
    run = check_config(path)
    assert (run.returncode, json.loads(run.stdout)["errors"]) == (0, []), run.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_serves_ipv6_wherever_it_serves_ipv4(path: Path) -> None:
    listens = [listener.listen for listener in parse_settings(path.read_text(), str(path)).listeners]
    assert {listen.host for listen in listens} <= {"::", "127.0.0.1"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_with_a_misspelt_key_is_refused(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "edge.yaml"
    broken.write_text(path.read_text().replace("listeners:", "listners:"))
    run = check_config(broken)
    assert run.returncode == 2
    assert [error["key"] for error in json.loads(run.stdout)["errors"]] == ["listners"]


@pytest.mark.parametrize(
    "folder", sorted(path for path in DEPLOY.iterdir() if path.is_dir()), ids=lambda path: path.name
)
def test_each_scenario_has_its_page(folder: Path) -> None:
    assert (folder / "README.md").is_file()
