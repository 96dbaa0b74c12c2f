"""What one node remembers of orders, all do: whoever renews next neither tries too soon nor too much."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.keys import ClusterKey
from certstore.cluster.shared_books import SharedBooks
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.wire import RecordClass
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.rate_limits import PlannedOrder
from certstore.model.renewal.state import FRESH, RenewalInfo, RenewalState
from certstore.renewal.memory import MOST_EVENTS, RenewalMemory
from tests.certstore.acme.workshop import make_layout
from tests.certstore.cluster.leased import PATHS, LockingNode, Seconds
from tests.certstore.cluster.memory_engine import MemoryStore

SITE = "a.test"
NOW = datetime.now(UTC)
CA = find_ca("https://acme-v02.api.letsencrypt.org/directory")
FAILED = replace(FRESH, failures=3, failure=Failure(Cause.DNS, "no answer"), next_attempt=NOW + timedelta(hours=1))


class Node(LockingNode):
    def __init__(self, store: MemoryStore, folder: Path, name: str) -> None:
        super().__init__(store, name)
        (folder / name).mkdir()
        self.layout = make_layout(folder / name)
        self.feed = self.session.follow(PATHS.prefix, store.revision)
        self.begin()

    def begin(self) -> None:
        self.memory = RenewalMemory(self.layout, NOW)
        self.books = SharedBooks(self.session, self.sealer, PATHS, self.locks)
        self.books.bind(self.memory)

    def end(self) -> None:
        self.books.bind(None)
        self.memory.close()

    def attempt(self, state: RenewalState) -> None:
        self.locks.take(SITE)
        self.memory.put(SITE, state)
        self.books.let_go(SITE)

    def order(self, at: datetime = NOW, name: str | None = None) -> None:
        with self.memory.ledger(CA) as ledger:
            if name is None:
                ledger.note_certificate(("a.test",), at)
            else:
                ledger.note_failed(name, at)

    def is_held_back(self, *names: str) -> bool:
        with self.memory.ledger(CA) as ledger:
            return ledger.find_hold(PlannedOrder(names or ("a.test",), has_priority=True), NOW) is not None

    def follow(self) -> None:
        self.books.flush()
        while (batch := self.feed.next(0)) is not None:
            self.books.read(batch.put)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def store(clock: Seconds) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def nodes(store: MemoryStore, tmp_path: Path) -> Iterator[list[Node]]:
    nodes = [Node(store, tmp_path, name) for name in ("edge-a", "edge-b")]
    yield nodes
    for node in nodes:
        node.end()


def settle(nodes: list[Node]) -> None:
    for node in (*nodes, *nodes):
        node.follow()


def test_all_know_how_the_last_attempt_ended(nodes: list[Node], store: MemoryStore) -> None:
    a, b = nodes
    a.attempt(FAILED)
    settle(nodes)
    assert b.memory.state(SITE) == FAILED
    assert PATHS.lock(SITE) not in store.items
    assert b"no answer" not in store.items[PATHS.of(Shelf.RENEWAL, SITE)].value
    b.attempt(FRESH)
    settle(nodes)
    assert a.memory.state(SITE) == FRESH


def test_each_keeps_the_window_that_the_ca_told_it(nodes: list[Node]) -> None:
    a, b = nodes
    info = RenewalInfo("f" * 64, NOW)
    a.memory.put(SITE, replace(FRESH, info=RenewalInfo("0" * 64, NOW)))
    b.memory.put(SITE, replace(FRESH, info=info))
    a.attempt(replace(FAILED, info=RenewalInfo("0" * 64, NOW)))
    settle(nodes)
    assert b.memory.state(SITE) == replace(FAILED, info=info)


def test_what_a_paused_node_remembers_counts_no_more(nodes: list[Node], clock: Seconds) -> None:
    a, b = nodes
    a.locks.take(SITE)
    clock.now += 11
    b.come_back()
    b.attempt(FRESH)
    a.memory.put(SITE, FAILED)
    a.books.let_go(SITE)
    settle(nodes)
    assert b.memory.state(SITE) == FRESH


def test_an_attempt_that_is_under_way_is_not_disturbed(nodes: list[Node]) -> None:
    a, b = nodes
    a.attempt(FAILED)
    b.locks.take(SITE)
    b.memory.put(SITE, FRESH)
    b.follow()
    assert b.memory.state(SITE) == FRESH


def test_the_limits_of_the_ca_count_what_all_nodes_did(nodes: list[Node]) -> None:
    """Let's Encrypt issues five certificates a week for the same names."""
    a, b = nodes
    for day in range(3):
        a.order(NOW - timedelta(days=day))
    assert not a.is_held_back()
    for day in range(3, 5):
        b.order(NOW - timedelta(days=day))
    settle(nodes)
    assert a.is_held_back()
    assert b.is_held_back()
    b.end()
    b.begin()
    assert b.is_held_back(), "it is on disk, too"


def test_a_wildcard_is_counted_for_all(nodes: list[Node]) -> None:
    a, b = nodes
    for minute in range(5):
        a.order(NOW - timedelta(minutes=minute), "*.a.test")
    settle(nodes)
    assert b.is_held_back("*.a.test")
    assert not b.is_held_back("a.test")


def test_a_name_that_is_too_long_is_counted_by_each_for_itself(nodes: list[Node]) -> None:
    a, b = nodes
    name = ".".join(["a" * 60] * 4) + ".test"
    for minute in range(5):
        a.order(NOW - timedelta(minutes=minute), name)
    a.order()
    settle(nodes)
    assert a.is_held_back(name)
    assert not b.is_held_back(name)


def test_what_was_counted_without_the_engine_is_given_later(nodes: list[Node]) -> None:
    a, b = nodes
    a.session.faults.is_cut = True
    for day in range(5):
        a.order(NOW - timedelta(days=day))
    assert a.books.flush()
    a.session.faults.is_cut = False
    settle(nodes)
    assert b.is_held_back()


def test_what_a_killed_process_counted_is_given_by_the_next(nodes: list[Node]) -> None:
    a, b = nodes
    for day in range(5):
        a.order(NOW - timedelta(days=day))
    a.end()
    a.begin()
    settle(nodes)
    assert b.is_held_back()


def test_what_comes_before_there_is_a_memory_is_not_lost(nodes: list[Node], store: MemoryStore) -> None:
    a, b = nodes
    a.attempt(FAILED)
    a.order()
    a.follow()
    b.books.bind(None)
    b.books.read(store.items.values())
    b.books.bind(b.memory)
    assert b.memory.state(SITE) == FAILED
    assert b.memory.counters().keys() == a.memory.counters().keys()


@pytest.mark.parametrize(
    ("shelf", "parts", "text"),
    [
        (Shelf.RENEWAL, (SITE,), b"{}x"),
        (Shelf.RENEWAL, (SITE,), b'{"failures": "many"}'),
        (Shelf.COUNTER, (CA.key, "orders:"), b'["a"]'),
        (Shelf.COUNTER, (CA.key, "orders:"), b"[" + b",".join([b"1"] * (MOST_EVENTS + 1)) + b"]"),
        (Shelf.COUNTER, (CA.key, "orders:"), b"[[[["),
    ],
)
def test_what_can_not_be_understood_does_not_count(
    shelf: Shelf, parts: tuple[str, ...], text: bytes, nodes: list[Node]
) -> None:
    a, b = nodes
    path = PATHS.of(shelf, *parts)
    sealed = a.sealer.seal(path, 1, RecordClass.CONTROL, text)
    a.session.commit([ModifiedAt(path, 0)], [Put(path, sealed)])
    settle(nodes)
    assert b.memory.state(SITE) == FRESH
    assert not b.memory.counters()
    with a.memory.ledger(CA) as ledger:
        ledger.note_order(NOW)
    settle(nodes)
    assert b.memory.counters(), "what is there is replaced by what counts"


def test_a_record_that_was_planted_does_not_count(nodes: list[Node], store: MemoryStore) -> None:
    a, b = nodes
    a.attempt(FAILED)
    item = store.items[PATHS.of(Shelf.RENEWAL, SITE)]
    b.books.read([replace(item, value=item.value[:-1] + bytes([item.value[-1] ^ 1]))])
    assert b.memory.state(SITE) == FRESH


def test_a_count_that_only_others_can_read_is_not_written_over(nodes: list[Node], store: MemoryStore) -> None:
    """The key was changed while this node was paused: it gets the new one with the next news."""
    a, b = nodes
    key = ClusterKey.draw()
    a.sealer.use(a.sealer.ring.with_key(key).sealing_with(key.key_id))
    for day in range(3):
        a.order(NOW - timedelta(days=day))
    a.books.flush()
    before = dict(store.items)
    for day in range(3, 5):
        b.order(NOW - timedelta(days=day))
    b.books.flush()
    assert store.items == before
    b.sealer.use(b.sealer.ring.with_key(key).sealing_with(key.key_id))
    settle(nodes)
    assert a.is_held_back()
    assert b.is_held_back()


def test_a_state_that_can_not_be_sealed_leaves_no_lock(nodes: list[Node], store: MemoryStore) -> None:
    a, _ = nodes
    a.locks.take(SITE)
    a.memory.put(SITE, replace(FAILED, failure=Failure(Cause.DNS, "x" * (2 << 20))))
    a.books.let_go(SITE)
    assert PATHS.lock(SITE) not in store.items
