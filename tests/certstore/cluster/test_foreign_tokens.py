"""What certbot or another client puts into one node's `challenges/` is answered by all nodes."""

import os
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import Proof
from certstore.acme.http01 import publish, withdraw
from certstore.cluster.foreign_tokens import MOST_TOKENS, ForeignTokens
from certstore.cluster.keys import NodeKeys
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.records import Role
from tests.certstore.cluster.memory_engine import MemoryStore
from tests.certstore.cluster.test_tokens import AUTHORIZATION, OTHER, PATHS, RING, TOKEN, Edge
from tests.deadlines import wait_for


class Pair:
    """Two nodes, and what looks at the folder of the first."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.one = Edge(self.store, folder / "edge-a", RING)
        self.other = Edge(self.store, folder / "edge-b", RING.for_member("edge-b", Role.FRONT, NodeKeys.draw()))
        self.foreign = ForeignTokens(self.one.layout, self.one.tokens)

    def put(self, token: str = TOKEN, content: str | None = None) -> Path:
        path = self.one.layout.challenges / token
        path.write_text(f"{token}.{'p' * 43}" if content is None else content)
        return path

    def settle(self) -> None:
        for _ in range(3):
            self.foreign.look()
            self.one.follow()
            self.other.follow()

    def in_engine(self) -> list[str]:
        return [key for key in self.store.items if key.startswith(PATHS.shelf(Shelf.TOKEN))]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.mark.parametrize("end", ["", "\n"])
def test_it_is_answered_by_all_until_it_is_removed(end: str, pair: Pair) -> None:
    path = pair.put(content=AUTHORIZATION + end)
    pair.settle()
    assert pair.other.shown() == AUTHORIZATION + end
    assert path.read_text() == AUTHORIZATION + end
    path.unlink()
    pair.settle()
    assert pair.other.shown() is None
    assert pair.in_engine() == []


def test_by_itself_it_takes_a_moment(pair: Pair) -> None:
    def is_shown() -> bool:
        pair.other.follow()
        return pair.other.shown() == AUTHORIZATION

    pair.foreign.start()
    try:
        pair.put()
        wait_for(is_shown, "the other node shows it")
    finally:
        pair.foreign.stop()


def test_a_file_that_is_still_written_waits(pair: Pair) -> None:
    pair.put(content=AUTHORIZATION[:60])
    pair.foreign.look()
    pair.put()
    pair.foreign.look()
    assert pair.in_engine() == []
    pair.settle()
    assert pair.other.shown() == AUTHORIZATION


@pytest.mark.parametrize(
    "content", ["", "x" * 2000, f"{OTHER}.{'p' * 43}", "-----BEGIN PRIVATE KEY-----\n", f"{TOKEN}.p p"]
)
def test_what_is_no_key_authorization_stays_here(content: str, pair: Pair) -> None:
    pair.put(content=content)
    pair.settle()
    assert pair.in_engine() == []


def test_neither_links_nor_pipes_nor_other_names_are_read(pair: Pair, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(AUTHORIZATION)
    folder = pair.one.layout.challenges
    (folder / TOKEN).symlink_to(secret)
    os.mkfifo(folder / OTHER)
    (folder / "README.md").write_text(f"README.md.{'p' * 43}")
    (folder / ("d" * 43)).mkdir()
    pair.settle()
    assert pair.in_engine() == []


def test_tokens_of_orders_are_not_taken_for_those_of_others(pair: Pair) -> None:
    """Neither this node's nor those of another one, which lie in the folder too."""
    ours, theirs = Proof("a.test", TOKEN, AUTHORIZATION), Proof("b.test", OTHER, f"{OTHER}.{'p' * 43}")
    publish(pair.one.layout, [ours])
    pair.one.tokens.share([ours])
    pair.other.ring = RING.for_member("edge-b", Role.EDGE, NodeKeys.draw())
    pair.other.start()
    pair.other.tokens.share([theirs])
    before = {key: pair.store.items[key].modified for key in pair.in_engine()}
    pair.settle()
    assert pair.one.shown(OTHER) == theirs.key_authorization
    assert {key: pair.store.items[key].modified for key in pair.in_engine()} == before
    withdraw(pair.one.layout, pair.one.tokens.recall([ours]))
    pair.other.tokens.recall([theirs])
    pair.settle()
    assert pair.in_engine() == []


def test_without_the_engine_it_is_tried_again(pair: Pair) -> None:
    pair.one.engine.faults.is_cut = True
    pair.put()
    pair.foreign.look()
    pair.foreign.look()
    pair.one.engine.faults.is_cut = False
    pair.settle()
    assert pair.other.shown() == AUTHORIZATION


def test_somebody_who_fills_the_folder_does_not_fill_the_engine(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    paths = [pair.put(f"{number:020}") for number in range(MOST_TOKENS + 3)]
    pair.settle()
    assert len(pair.in_engine()) == MOST_TOKENS
    assert caplog.text.count("tokens of other ACME clients at once") == 1
    for path in paths[:100]:
        path.unlink()
    pair.settle()
    assert len(pair.in_engine()) == MOST_TOKENS + 3 - 100


def test_a_folder_that_is_gone_is_no_fault(pair: Pair) -> None:
    pair.one.layout.challenges.rmdir()
    pair.foreign.look()
    assert pair.in_engine() == []
