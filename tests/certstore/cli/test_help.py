"""What every command has in common: an example in its help, and its result as JSON."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

import edge_addon.cli  # noqa: F401  adds commands of its own
from certstore.cli.main import app

WITHOUT_FACTS = {"init", "run", "demo"}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command and every group below `certedge`, with its words."""
    group = group if group is not None else typer.main.get_command(app)
    for name, command in group.commands.items():
        words = (*path, name)
        yield " ".join(words), command
        if hasattr(command, "commands"):
            yield from commands(command, words)


ALL = dict(commands())


@pytest.mark.parametrize("words", ALL, ids=str)
def test_help_has_an_example_of_this_command(words: str) -> None:
    assert (ALL[words].epilog or "").startswith(f"Example: certedge {words}")


@pytest.mark.parametrize("words", [words for words, each in ALL.items() if not hasattr(each, "commands")], ids=str)
def test_facts_are_printed_as_json_when_asked(words: str) -> None:
    options = {option for parameter in ALL[words].params for option in parameter.opts}
    assert ("--json" in options) == (words not in WITHOUT_FACTS)
