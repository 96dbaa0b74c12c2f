"""What recipients were told is known to whoever warns next, and only the one that warns writes it."""

from dataclasses import replace
from datetime import date

import pytest

from certstore.cluster.engine import Committed, CreatedAt, Delete, ModifiedAt, Put
from certstore.cluster.shared_told import SharedTold
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.wire import RecordClass
from certstore.model.notify.due_notices import NoticeKind, Told
from tests.certstore.cluster.leased import PATHS, LockingNode
from tests.certstore.cluster.memory_engine import MemoryStore

WHO = "admin@example.org"
FIRST = Told({NoticeKind.DAILY: date(2027, 3, 1)}, {"a.test": "expiring"}, {"a.test": "a.test"})
SECOND = replace(FIRST, days={NoticeKind.DAILY: date(2027, 3, 2)})


class Node(LockingNode):
    def __init__(self, store: MemoryStore, name: str) -> None:
        super().__init__(store, name)
        self.duty: CreatedAt | None = None
        self.told = SharedTold(self.session, self.sealer, PATHS, lambda: self.duty)
        self.feed = self.session.follow(PATHS.prefix, store.revision)

    def take_duty(self) -> None:
        there = self.session.get([PATHS.caretaker]).by_key().get(PATHS.caretaker)
        if there is not None:
            self.session.commit([ModifiedAt(there.key, there.modified)], [Delete(there.key)])
        taken = self.session.commit([ModifiedAt(PATHS.caretaker, 0)], [Put(PATHS.caretaker, self.name.encode())])
        assert isinstance(taken, Committed)
        self.duty = CreatedAt(PATHS.caretaker, taken.revision)

    def news(self) -> dict[str, Told]:
        while (batch := self.feed.next(0)) is not None:
            self.told.read(batch.put)
        return dict(self.told.news())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def nodes(store: MemoryStore) -> tuple[Node, Node]:
    return Node(store, "edge-a"), Node(store, "edge-b")


def test_whoever_warns_next_knows_it(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.take_duty()
    a.told.tell(WHO, FIRST)
    a.told.tell(WHO, SECOND)
    assert b.news() == {WHO: SECOND}
    assert b.news() == {}
    assert not [key for key in store.items if WHO in key]
    assert not [item for item in store.items.values() if WHO.encode() in item.value]


def test_a_node_that_has_lost_the_duty_tells_nothing_new(nodes: tuple[Node, Node]) -> None:
    """It was paused, and its successor has told the recipient more."""
    a, b = nodes
    a.take_duty()
    b.take_duty()
    b.told.tell(WHO, SECOND)
    a.told.tell(WHO, FIRST)
    assert a.news() == {WHO: SECOND}
    assert b.news() == {WHO: SECOND}
    a.duty = None
    a.told.tell("b@example.org", FIRST)
    assert "b@example.org" not in b.news()


def test_what_waits_from_an_earlier_duty_replaces_nothing_newer(nodes: tuple[Node, Node]) -> None:
    """It would be told once more, by whoever warns next."""
    a, b = nodes
    a.take_duty()
    a.session.faults.is_cut = True
    a.told.tell(WHO, FIRST)
    a.session.faults.is_cut = False
    b.take_duty()
    b.told.tell(WHO, SECOND)
    assert a.news() == {WHO: SECOND}
    a.take_duty()
    assert a.news() == {}
    assert b.news() == {WHO: SECOND}


@pytest.mark.parametrize("lost_replies", [0, 1])
def test_what_is_told_counts_more_than_what_was_heard_before(lost_replies: int, nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.take_duty()
    a.session.faults.lose_replies = lost_replies
    a.told.tell(WHO, FIRST)
    while (batch := a.feed.next(0)) is not None:
        a.told.read(batch.put)
    a.session.faults.is_cut = True
    a.told.tell(WHO, SECOND)
    assert a.told.news() == {}
    a.session.faults.is_cut = False
    a.news()
    assert b.news() == {WHO: SECOND}


@pytest.mark.parametrize("fault", ["is_cut", "lose_replies", "hold_requests"])
def test_what_could_not_be_said_is_said_later(fault: str, nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.take_duty()
    setattr(a.session.faults, fault, 1)
    a.told.tell(WHO, FIRST)
    a.session.faults.is_cut = False
    a.news()
    store.deliver_late()
    assert b.news() == {WHO: FIRST}


def test_what_was_told_before_there_was_a_cluster_counts_where_nobody_knows_better(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.take_duty()
    a.told.offer({WHO: FIRST, "b@example.org": FIRST})
    a.news()
    assert b.news() == {WHO: FIRST, "b@example.org": FIRST}
    b.take_duty()
    b.told.tell(WHO, SECOND)
    a.take_duty()
    a.told.offer({WHO: FIRST})
    assert a.news()[WHO] == SECOND
    a.news()
    assert b.news().get(WHO, SECOND) == SECOND


def test_an_offer_never_replaces_what_is_there(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.take_duty()
    b.told.tell(WHO, SECOND)
    a.take_duty()
    a.told.offer({WHO: FIRST})  # it has not seen the other one yet
    a.told.news()
    assert b.news() == {WHO: SECOND}


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"recipient": 1, "told": {}}', b"[[[[", b'{"recipient": "x"'])
def test_what_can_not_be_understood_does_not_count(text: bytes, nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    path = PATHS.of(Shelf.TOLD, "0" * 32)
    a.session.commit([ModifiedAt(path, 0)], [Put(path, a.sealer.seal(path, 1, RecordClass.CONTROL, text))])
    assert b.news() == {}


def test_a_record_that_was_planted_does_not_count(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    """Another recipient's record, or a damaged one."""
    a, b = nodes
    a.take_duty()
    a.told.tell(WHO, FIRST)
    item = next(item for key, item in store.items.items() if "d/told" in key)
    b.told.read([replace(item, key=PATHS.of(Shelf.TOLD, "0" * 32))])
    b.told.read([replace(item, value=item.value[:-1] + bytes([item.value[-1] ^ 1]))])
    assert b.told.news() == {}
