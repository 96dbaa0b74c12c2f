"""What is made from the program is what the program would make now, and is of use."""

import subprocess
from pathlib import Path

import pytest

import edge_addon.cli  # noqa: F401  adds commands of its own
from certstore.cli.main import app
from certstore.cli.man_pages import commands_page, settings_page
from certstore.model.settings.descriptions import EDGE, SITE
from certstore.model.settings.reference import annotated_settings
from tests.peers import require_peer

REFERENCE = Path(__file__).parents[2] / "deploy" / "reference"
STALE = "run .venv/bin/python deploy/build-docs"


def test_annotated_settings_are_current() -> None:
    assert (REFERENCE / "edge.yaml").read_text() == annotated_settings(EDGE, SITE), STALE


def test_man_pages_are_current() -> None:
    assert (REFERENCE / "certedge.1").read_text() == commands_page(app), STALE
    assert (REFERENCE / "edge.yaml.5").read_text() == settings_page(), STALE


@pytest.mark.peer
@pytest.mark.parametrize("page", ["certedge.1", "edge.yaml.5"])
def test_groff_sets_the_page_without_a_warning(page: str) -> None:
    command = [str(require_peer("groff")), "-man", "-ww", "-Tutf8", str(REFERENCE / page)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "certedge" in ran.stdout
