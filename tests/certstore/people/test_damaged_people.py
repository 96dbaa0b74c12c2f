"""An unreadable entry of users, sessions, links or tokens is ignored; the console keeps working."""

import json
from pathlib import Path
from typing import Any

import pytest

from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.layout import Layout
from certstore.people.access import Access
from tests.certstore.acme.workshop import make_layout

FILES = ("users", "sessions", "invitations", "tokens")
ENTRIES: list[Any] = [
    5,
    None,
    "x",
    [],
    {},
    {"role": "emperor", "sites": []},
    {"user": 5},
    {"user": "a", "made_at": "today"},
]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = make_layout(tmp_path / "store")
    layout.admin.mkdir()
    return layout


@pytest.mark.parametrize("damaged", FILES)
def test_invalid_entry_is_ignored_and_the_others_are_kept(
    layout: Layout, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Access.opened(layout) as access:
        access.users.add("anna", Role.ADMIN, (), "hash")
        session = access.sessions.begin("anna", "127.0.0.1").secret
        link = access.invitations.make("anna")
        _, token = access.tokens.add("watch", Scope.READ, None, "anna")
    path = layout.admin / f"{damaged}.jsonl"
    with path.open("a") as file:
        for number, entry in enumerate(ENTRIES):
            file.write(json.dumps([f"odd-{number}", entry]) + "\n")
    with Access.opened(layout) as access:
        assert [user.name for user in access.users.all()] == ["anna"]
        assert access.sessions.find(session) is not None
        assert access.invitations.find(link) == "anna"
        assert access.tokens.find(token) is not None
        assert len(access.tokens.all()) == 1
    assert any(str(path) in message for message in caplog.messages)
