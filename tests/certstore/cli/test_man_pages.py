"""certedge(1) has every command with its options, edge.yaml(5) every setting; both stay plain text for roff."""

from typing import Any

import pytest
import typer

import edge_addon.cli  # noqa: F401  adds commands of its own
from certstore.cli.main import app
from certstore.cli.man_pages import commands_page, settings_page
from certstore.model.settings.descriptions import EDGE
from certstore.model.settings.models import Settings
from certstore.model.settings.reference import settings_of
from tests.certstore.cli.test_help import ALL

PAGE = commands_page(app)


def as_roff(text: str) -> str:
    return text.replace("-", "\\-")


@pytest.mark.parametrize("words", [words for words, each in ALL.items() if not hasattr(each, "commands")], ids=str)
def test_command_is_there_with_its_options_and_its_example(words: str) -> None:
    command: Any = ALL[words]
    heads = (as_roff(f"certedge {words}\n"), as_roff(f"certedge {words} "))
    section = next(each for each in PAGE.split("\n.SS ") if each.startswith(heads))
    for each in command.params:
        if each.param_type_name == "option" and "--config" not in each.opts:
            assert as_roff(each.opts[0]) in section, each.opts
    assert as_roff(command.epilog.removeprefix("Example: "))[:40].replace("\\\\", "\\") in section


def test_every_setting_is_there() -> None:
    page = settings_page()
    for each in settings_of(Settings, EDGE):
        assert f".B {as_roff(each.key)}\n" in page, each.key
    assert ".SH SITE.YAML" in page


def test_text_can_not_be_taken_for_a_request_of_roff() -> None:
    odd = typer.Typer()

    @odd.callback()
    def top() -> None:
        """.so /etc/passwd"""

    @odd.command(epilog="Example: odd x")
    def x() -> None:
        r"""'ig and a back\\slash - and …"""

    page = commands_page(odd)
    assert "\n.so" not in page
    assert "\\&.so /etc/passwd" in page
    assert "\\&'ig and a back\\e" in page
    assert page.isascii()
