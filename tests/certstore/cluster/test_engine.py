"""The contract on the engine in memory, and the faults that it can be given: other tests rely on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from certstore.cluster.engine import (
    GET_AT_ONCE,
    Committed,
    Delete,
    Engine,
    EngineFull,
    EngineLost,
    LeaseGone,
    Lost,
    ModifiedAt,
    Put,
    Unknown,
    WentBack,
)
from certstore.cluster.etcd_gateway import ANSWER_BYTES
from certstore.model.cluster.wire import VALUE_LIMIT
from tests.certstore.cluster.engine_contract import LONG, TTL, EngineContract, collected, written
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def engine(self, store: MemoryStore) -> Iterator[Engine]:
        engine = MemoryEngine(store)
        yield engine
        engine.close()

    @pytest.fixture
    def compact(self, store: MemoryStore) -> Callable[[], None]:
        return store.compact

    @pytest.fixture
    def after_ttl(self, clock: Clock) -> Callable[[Callable[[], bool]], None]:
        def wait(condition: Callable[[], bool]) -> None:
            assert not condition()
            clock.now += TTL.total_seconds() * 0.75
            assert not condition()
            clock.now += TTL.total_seconds() * 0.75
            assert condition()

        return wait


def both(store: MemoryStore) -> tuple[MemoryEngine, MemoryEngine]:
    return MemoryEngine(store, "edge-a"), MemoryEngine(store, "edge-b")


ABSENT = [ModifiedAt("/a", 0)]


def test_a_lost_reply_is_unknown_though_the_write_is_there(store: MemoryStore) -> None:
    engine, other = both(store)
    engine.faults.lose_replies = 1
    assert isinstance(engine.commit(ABSENT, [Put("/a", b"x")]), Unknown)
    assert other.read("/").items[0].value == b"x"
    assert isinstance(engine.commit(ABSENT, [Put("/a", b"again")]), Lost)


def test_a_late_request_is_unknown_and_fails_its_compare_when_it_arrives(store: MemoryStore) -> None:
    engine, other = both(store)
    engine.faults.hold_requests = 1
    assert isinstance(engine.commit(ABSENT, [Put("/a", b"late")]), Unknown)
    written(other, Put("/a", b"newer"))
    (outcome,) = store.deliver_late()
    assert isinstance(outcome, Lost)
    assert other.read("/").items[0].value == b"newer"


def test_a_late_request_may_still_be_applied(store: MemoryStore) -> None:
    engine, other = both(store)
    engine.faults.hold_requests = 1
    engine.commit(ABSENT, [Put("/a", b"late")])
    assert other.read("/").items == ()
    assert [type(outcome) for outcome in store.deliver_late()] == [Committed]
    assert other.read("/").items[0].value == b"late"


def test_a_repeated_request_changes_nothing_the_second_time(store: MemoryStore) -> None:
    engine, _ = both(store)
    engine.faults.repeat_requests = 1
    assert isinstance(engine.commit(ABSENT, [Put("/a", b"x")]), Committed)
    assert [type(outcome) for outcome in store.deliver_late()] == [Lost]


def test_a_node_that_is_cut_off_notices_and_the_others_go_on(store: MemoryStore) -> None:
    engine, other = both(store)
    following = engine.follow("/", store.revision)
    engine.faults.is_cut = True
    revision = written(other, Put("/a", b"x"))
    with pytest.raises(EngineLost):
        engine.read("/")
    with pytest.raises(EngineLost):
        engine.commit(ABSENT, [Delete("/a")])
    with pytest.raises(EngineLost):
        following.next(0)
    engine.faults.is_cut = False
    (batch,) = collected(engine.follow("/", revision - 1), lambda got: len(got) == 1)
    assert batch.revision == revision


def test_a_silent_member_shows_nothing_on_an_open_feed(store: MemoryStore) -> None:
    engine, other = both(store)
    following = engine.follow("/", store.revision)
    engine.faults.is_silent = True
    written(other, Put("/a", b"x"))
    assert following.next(0) is None
    with pytest.raises(EngineLost):
        engine.status()
    engine.faults.is_silent = False
    batch = following.next(0)
    assert batch is not None
    assert batch.put[0].key == "/a"


def test_a_full_engine_refuses_values_and_leases_and_takes_deletions(store: MemoryStore) -> None:
    engine, _ = both(store)
    lease = engine.grant(LONG)
    written(engine, Put("/a", b"x"))
    store.is_full = True
    with pytest.raises(EngineFull):
        written(engine, Put("/b", b"x"))
    with pytest.raises(EngineFull):
        engine.grant(LONG)
    assert engine.keep(lease) == LONG
    written(engine, Delete("/a"))
    assert engine.read("/").items == ()
    assert engine.status().alarms == ("NOSPACE",)


def test_a_restored_engine_breaks_feeds_and_has_gone_back(store: MemoryStore) -> None:
    engine, _ = both(store)
    written(engine, Put("/a", b"old"))
    snapshot = store.snapshot()
    lease = engine.grant(LONG)
    latest = written(engine, Put("/a", b"new"), Put("/b", b"new", lease))
    following = engine.follow("/", latest)
    store.restore(snapshot)
    with pytest.raises(EngineLost):
        following.next(0)
    with pytest.raises(WentBack):
        engine.follow("/", latest).next(0)
    with pytest.raises(LeaseGone):
        engine.keep(lease)
    reading = engine.read("/")
    assert [item.value for item in reading.items] == [b"old"]
    assert reading.revision < latest


def test_the_longest_records_fit_into_the_answer_that_is_read() -> None:
    """In JSON, where four characters stand for three bytes; else one customer's long chains would end every sync."""
    assert GET_AT_ONCE * (VALUE_LIMIT * 4 // 3 + 1024) < ANSWER_BYTES
