"""One node at a time has a lock, and what it writes counts only while it has it."""

import pytest

from certstore.cluster.engine import Committed, EngineFailed, Lost, Put
from certstore.cluster.order_locks import LockHeld, OrderLocks
from tests.certstore.cluster.leased import PATHS, LeasedSession, LockingNode, Seconds
from tests.certstore.cluster.memory_engine import MemoryStore

SITE = "a.test"
RECORD = PATHS.order(SITE)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def store(clock: Seconds) -> MemoryStore:
    return MemoryStore(clock)


def locks(store: MemoryStore, name: str) -> tuple[LeasedSession, OrderLocks]:
    node = LockingNode(store, name)
    return node.session, node.locks


def test_one_has_it_and_the_other_hears_who(store: MemoryStore) -> None:
    (_, a), (_, b) = locks(store, "edge-a"), locks(store, "edge-b")
    a.take(SITE)
    with pytest.raises(LockHeld, match="edge-a"):
        b.take(SITE)
    b.take("b.test")
    assert a.release(SITE)
    b.take(SITE)
    assert a.fence(SITE) is None


def test_a_holder_that_was_paused_writes_nothing(store: MemoryStore, clock: Seconds) -> None:
    (session, a), (_, b) = locks(store, "edge-a"), locks(store, "edge-b")
    fence = a.take(SITE)
    clock.now += 11
    b_session, b = locks(store, "edge-b")
    mine = b.take(SITE)
    assert isinstance(session.commit([fence], [Put(RECORD, b"old")]), Lost)
    assert isinstance(b_session.commit([mine], [Put(RECORD, b"new")]), Committed)
    assert not a.release(SITE, [Put(RECORD, b"old")])
    assert store.items[RECORD].value == b"new"
    assert PATHS.lock(SITE) in store.items, "the successor's lock is none of its business"


def test_what_has_to_be_written_at_the_end_is_written_with_the_lock(store: MemoryStore) -> None:
    _, a = locks(store, "edge-a")
    a.take(SITE)
    assert a.release(SITE, [Put(RECORD, b"state")])
    assert store.items[RECORD].value == b"state"
    assert PATHS.lock(SITE) not in store.items
    assert not a.release(SITE)


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
def test_an_answer_that_is_lost_is_read_back(fault: str, store: MemoryStore) -> None:
    (session, a), (_, b) = locks(store, "edge-a"), locks(store, "edge-b")
    setattr(session.faults, fault, 1)
    fence = a.take(SITE)
    assert store.items[PATHS.lock(SITE)].created == fence.revision
    store.deliver_late()
    assert store.items[PATHS.lock(SITE)].created == fence.revision
    with pytest.raises(LockHeld, match="edge-a"):
        b.take(SITE)


def test_without_the_engine_nobody_has_it(store: MemoryStore) -> None:
    session, a = locks(store, "edge-a")
    session.faults.is_cut = True
    with pytest.raises(EngineFailed):
        a.take(SITE)
    assert a.fence(SITE) is None


@pytest.mark.parametrize("fault", ["is_cut", "hold_requests"])
def test_a_lock_whose_end_the_engine_did_not_hear_is_let_go_later(fault: str, store: MemoryStore) -> None:
    """The node lives, and its lease with it: nobody else could order for the site."""
    (session, a), (_, b) = locks(store, "edge-a"), locks(store, "edge-b")
    a.take(SITE)
    setattr(session.faults, fault, 1)
    assert not a.release(SITE, [Put(RECORD, b"state")])
    a.sweep()
    session.faults.is_cut = False
    a.sweep()
    b.take(SITE)
    assert store.items[RECORD].value == b"state"
    store.deliver_late()
    a.sweep()
    assert PATHS.lock(SITE) in store.items, "it is the other one's now"


def test_a_lock_that_was_taken_again_stays(store: MemoryStore) -> None:
    session, a = locks(store, "edge-a")
    a.take(SITE)
    session.faults.is_cut = True
    assert not a.release(SITE, [Put(RECORD, b"old")])
    session.faults.is_cut = False
    fence = a.take(SITE)
    a.sweep()
    assert isinstance(session.commit([fence], [Put(RECORD, b"new")]), Committed)
