"""What every command has in common: an example in its help, and its result as JSON."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

import edge_addon.cli  # noqa: F401  adds commands of its own
from certstore.cli.main import app

WITHOUT_FACTS = {"init", "run", "demo", "print-unit"}


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


def _shown_beside(words: str, option: str) -> str:
    """What help shows between the names of an option and its description."""
    command: Any = ALL[words]
    context = command.context_class(command, info_name=words)
    parameter = next(each for each in command.get_params(context) if option in each.opts)
    shown: str | None = parameter.display_type_rich(ctx=context)
    return shown or ""


@pytest.mark.parametrize("words", [words for words, each in ALL.items() if not hasattr(each, "commands")], ids=str)
def test_flags_are_shown_without_a_value(words: str) -> None:
    command: Any = ALL[words]
    context = command.context_class(command, info_name=words, help_option_names=["-h", "--help"])
    flags = [each for each in command.get_params(context) if getattr(each, "is_flag", False)]
    assert "--help" in {option for each in flags for option in each.opts}
    for each in flags:
        assert _shown_beside(words, each.opts[-1]) == "", each.opts


def test_options_with_a_value_say_which() -> None:
    assert _shown_beside("site set", "--host") == "NAME"
    assert _shown_beside("status", "--config") == "FILE"
    assert _shown_beside("verify", "--timeout") != ""


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("cert install", "Accept a certificate that has expired"),
        ("cert request", "Order even if the CA's rate limits"),
        ("renew", "Renew even if not due."),
    ],
)
def test_force_has_one_meaning_per_verb(words: str, meaning: str) -> None:
    (parameter,) = [each for each in ALL[words].params if "--force" in each.opts]
    assert parameter.help.startswith(meaning)
    assert " and " not in parameter.help
