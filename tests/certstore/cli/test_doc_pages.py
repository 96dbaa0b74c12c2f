"""Pages that the program prints, and messages that name them."""

import json
import re
from pathlib import Path

import pytest

from certstore.cli.doc_pages import pages
from tests.certstore.cli.command import REPOSITORY, certedge

SOURCES = [path for package in ("certstore", "edge_addon") for path in (REPOSITORY / package).rglob("*.py")]


def test_pages_are_listed_with_their_titles(tmp_path: Path) -> None:
    ran = certedge(tmp_path, "docs", config=False)
    assert ran.code == 0
    assert "Several servers with the same certificates" in ran.out
    listed = json.loads(certedge(tmp_path, "docs", "--json", config=False).out)["pages"]
    assert {each["page"] for each in listed} == set(pages())


def test_every_page_of_the_repository_is_one_of_them() -> None:
    files = [REPOSITORY / "README.md", *(REPOSITORY / "deploy").rglob("*.md")]
    assert sorted(pages().values()) == sorted(files), "two pages of one name hide each other"


@pytest.mark.parametrize("page", ["cluster", "dns", "readme"])
def test_page_is_printed_as_it_is(tmp_path: Path, page: str) -> None:
    ran = certedge(tmp_path, "docs", page, config=False)
    assert ran.out.splitlines() == pages()[page].read_text(encoding="utf-8").splitlines()
    assert json.loads(certedge(tmp_path, "docs", page, "--json", config=False).out)["page"] == page
    assert certedge(tmp_path, "docs", page, "--path", config=False).out == f"{pages()[page]}\n"


@pytest.mark.parametrize("page", ["nonsense", "../../etc/passwd", ""])
def test_unknown_page_is_refused(tmp_path: Path, page: str) -> None:
    ran = certedge(tmp_path, "docs", page, config=False)
    assert ran.code == 2
    assert "certedge docs lists them" in ran.err


def test_messages_name_pages_that_exist_and_no_path_of_the_repository() -> None:
    named, paths = set[str](), []
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        named |= set(re.findall(r"certedge docs ([a-z-]+)", text)) - {"lists"}
        paths += [
            (source.name, line.strip())
            for line in text.splitlines()
            if re.search(r"""["'][^"']*\b(see|page|:|\()\s*(in )?deploy/""", line)
        ]
    assert {"acme", "cluster", "systemd"} <= named <= set(pages())
    assert paths == []
