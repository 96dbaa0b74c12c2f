"""deploy/cluster tells the truth: its commands exist with their options, and every problem of a node is explained."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import edge_addon.cli  # noqa: F401  adds commands of its own
from certstore.cli.main import app
from certstore.model.cluster.health import ClusterProblem

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "deploy/cluster/README.md", ROOT / "deploy/other-servers/README.md"]
REPORTED = re.compile(r"ClusterProblem\.([A-Z_]+)")


def commands(text: str) -> list[list[str]]:
    """The words of every `certedge …` in a page, up to a pipe, a quote or the end of its line."""
    joined = text.replace("\\\n", " ")
    words = r"(?<![\w/-])certedge ((?:cluster|verify|status|cert)\b[^`|\n#&;]*)"
    return [found.split() for found in re.findall(words, joined)]


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what follows."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    return command, words


FOUND = [(page.parent.name, words) for page in PAGES for words in commands(page.read_text())]


def test_the_pages_show_commands() -> None:
    assert len(FOUND) > 12


@pytest.mark.parametrize(("page", "words"), FOUND, ids=lambda each: each if isinstance(each, str) else " ".join(each))
def test_a_command_on_the_page_exists_with_its_options(page: str, words: list[str]) -> None:
    command, rest = resolve(words)
    assert not hasattr(command, "commands"), f"{page}: certedge {' '.join(words)} is not a command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_every_problem_that_a_node_reports_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "certstore").rglob("*.py"))
    reported = {ClusterProblem[name] for name in REPORTED.findall(code)}
    assert reported == set(ClusterProblem)
    table = PAGES[0].read_text().partition("## What each problem means")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert explained == {problem.value for problem in reported}
