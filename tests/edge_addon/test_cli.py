import subprocess
import sys
from pathlib import Path

import pytest

from tests.certstore.cli.command import REPOSITORY, certedge, write_edge

LISTS_MODULES = """
import sys
sys.argv = ["certedge", *sys.argv[1:]]
from edge_addon.cli import main
code = main()
print("MODULES", *sys.modules)
sys.exit(code)
"""


def modules_loaded_by(folder: Path, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LISTS_MODULES, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("MODULES "), done.stderr
    return set(last.split()[1:])


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("run", "--help")], ids=" ".join)
def test_help_is_shown_without_importing_what_only_commands_need(tmp_path: Path, words: tuple[str, ...]) -> None:
    loaded = modules_loaded_by(tmp_path, *words)
    heavy = {
        "mitmproxy",
        "uvloop",
        "cryptography",
        "watchdog",
        "concurrent.futures",
        "yaml",
        "idna",
        "certstore.model.settings",
    }
    assert loaded & heavy == set()


def test_commands_about_certificates_start_without_mitmproxy(tmp_path: Path) -> None:
    write_edge(tmp_path)
    loaded = modules_loaded_by(tmp_path, "--config", str(tmp_path / "edge.yaml"), "site", "add", "a.test")
    assert "certstore.store.writer" in loaded
    assert "mitmproxy" not in loaded


def test_every_command_has_an_example(tmp_path: Path) -> None:
    groups = {
        (): ("run", "demo", "init", "site", "cert", "explain", "status", "verify", "check-config"),
        ("site",): ("list", "show", "add", "set", "remove"),
        ("cert",): ("install", "history", "rollback", "export"),
    }
    for group, commands in groups.items():
        shown = certedge(tmp_path, *group, "--help", config=False).out
        assert [command for command in commands if f" {command} " not in shown] == []
    for words in (("run",), ("site", "set"), ("cert", "install")):
        assert f"Example: certedge {' '.join(words)}" in certedge(tmp_path, *words, "--help", config=False).out


def test_run_refuses_invalid_settings(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("workers: many\n")
    ran = certedge(tmp_path, "run")
    assert ran.code == 2
    assert "workers" in ran.err


def test_config_may_stand_before_or_after_the_command_or_in_the_environment(tmp_path: Path) -> None:
    write_edge(tmp_path)
    place = str(tmp_path / "edge.yaml")
    elsewhere = str(tmp_path / "elsewhere.yaml")
    assert certedge(tmp_path, "check-config", "--config", place, config=False).code == 0
    assert certedge(tmp_path, "--config", place, "check-config", config=False).code == 0
    assert certedge(tmp_path, "check-config", config=False, CERTEDGE_CONFIG=place).code == 0
    assert certedge(tmp_path, "check-config", config=False).code == 0  # ./edge.yaml
    assert certedge(tmp_path, "check-config", "--config", place, config=False, CERTEDGE_CONFIG=elsewhere).code == 0
    assert certedge(tmp_path, "--config", elsewhere, "check-config", "--config", place, config=False).code == 0
    assert certedge(tmp_path, "check-config", config=False, CERTEDGE_CONFIG=elsewhere).code == 2


@pytest.mark.parametrize("words", [("nonsense",), ("cert", "install"), ("status", "--nonsense")], ids=" ".join)
def test_wrong_usage_has_a_distinct_exit_code(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert certedge(tmp_path, *words).code == 2
