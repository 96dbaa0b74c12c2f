"""The cluster's nodes in the console."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.model.console.people import Role
from tests.certstore.admin.browser import sign_in
from tests.certstore.admin.clusters import SECTION, standing_of, write_standing
from tests.certstore.admin.console import RunningConsole, running_console
from tests.certstore.stores import SITE


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store", {"cluster": SECTION}) as running:
        running.add_user("anna")
        yield running


def test_each_node_is_shown_with_its_state(console: RunningConsole) -> None:
    write_standing(console, standing_of(console))
    page = sign_in(console).get("/nodes").text
    for words in (
        "14 sites behind",
        "Not heard",
        "this one",
        "Edge, renews and warns for all",
        "8.4 MB",
        "Front: serves",
    ):
        assert words in page, words
    assert "&lt;b&gt;it is stopped" in page


def test_the_overview_says_in_one_line_how_the_cluster_stands(console: RunningConsole) -> None:
    anna = sign_in(console)
    assert "/nodes" in anna.get("/").text, "the way there"
    write_standing(console, standing_of(console))
    assert "3 nodes, edge-b 14 behind; edge-c gone" in anna.get("/").text


def test_a_detached_node_says_so(console: RunningConsole) -> None:
    write_standing(console, standing_of(console, is_attached=False, reason="no member answers", caretaker=None))
    page = sign_in(console).get("/nodes").text
    assert "Detached since" in page
    assert "No node renews at the moment." in page


def test_what_nobody_has_said_lately_is_not_shown(console: RunningConsole) -> None:
    old = console.clock() - timedelta(hours=1)
    write_standing(console, standing_of(console, written_at=old))
    assert "How the nodes stand is not known" in sign_in(console).get("/nodes").text


def test_a_domain_s_administrator_does_not_see_the_machines(console: RunningConsole) -> None:
    console.add_user("bert", Role.DOMAIN, SITE)
    bert = console.signed_in("bert")
    assert bert.get("/nodes").status == 403
    assert "/nodes" not in bert.get("/").text


def test_a_server_alone_has_no_such_page_in_its_menu(tmp_path: Path) -> None:
    with running_console(tmp_path / "store") as alone:
        alone.add_user("anna")
        anna = sign_in(alone)
        assert "/nodes" not in anna.get("/").text
        assert "This server runs alone" in anna.get("/nodes").text


def test_one_site_is_one(console: RunningConsole) -> None:
    standing = standing_of(console)
    behind = replace(standing.nodes[1], behind=1)
    write_standing(console, replace(standing, nodes=(standing.nodes[0], behind, *standing.nodes[2:])))
    page = sign_in(console).get("/nodes").text
    assert "1 site behind" in page
    assert "1 sites" not in page
