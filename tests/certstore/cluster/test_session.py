"""One way to the engine over several members, in memory; test_session_real_servers does the same to real ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from certstore.cluster.engine import (
    Committed,
    Compacted,
    CreatedAt,
    EngineLost,
    EngineRefused,
    Lost,
    ModifiedAt,
    Op,
    Outcome,
    Put,
    Unknown,
    WentBack,
)
from certstore.cluster.session import Session
from tests.certstore.cluster.engine_contract import collected, written
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore
from tests.deadlines import wait_for


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


@pytest.fixture
def members(store: MemoryStore) -> list[MemoryEngine]:
    return [MemoryEngine(store, f"member-{number}") for number in range(3)]


@pytest.fixture
def session(members: list[MemoryEngine], clock: Clock) -> Iterator[Session]:
    """Not started: a test that needs its thread starts it."""
    with Session(members, ping_seconds=0.005, monotonic=clock) as session:
        yield session


@pytest.fixture
def outside(store: MemoryStore) -> MemoryEngine:
    """Another node."""
    return MemoryEngine(store, "outside")


def attached(session: Session) -> bool:
    return session.attachment.is_attached


# --- reading and writing ----------------------------------------------------------------------------------------------


def test_a_reading_is_repeated_at_the_next_member(session: Session, members: list[MemoryEngine]) -> None:
    written(session, Put("/a", b"x"))
    members[0].faults.is_cut = True
    assert [item.key for item in session.read("/").items] == ["/a"]
    assert session.member is members[1]


def test_with_no_member_left_the_engine_is_lost(session: Session, members: list[MemoryEngine]) -> None:
    for member in members:
        member.faults.is_cut = True
    with pytest.raises(EngineLost):
        session.read("/")


def test_a_commit_of_which_nothing_was_sent_is_repeated(session: Session, members: list[MemoryEngine]) -> None:
    members[0].faults.is_cut = True
    assert isinstance(session.commit([ModifiedAt("/a", 0)], [Put("/a", b"x")]), Committed)


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
def test_a_commit_that_may_have_been_applied_is_never_repeated(
    session: Session, members: list[MemoryEngine], outside: MemoryEngine, fault: str
) -> None:
    setattr(members[0].faults, fault, 1)
    assert isinstance(session.commit([ModifiedAt("/a", 0)], [Put("/a", b"x")]), Unknown)
    assert len(outside.read("/").items) + len(outside.store.late) == 1


def test_a_refusal_is_the_answer_and_no_member_is_asked_again(session: Session, members: list[MemoryEngine]) -> None:
    asked = list[str]()

    def refuse(compares: object, ops: list[Op]) -> Outcome:
        asked.append(ops[0].key)
        raise EngineRefused("no")

    for member in members:
        member.commit = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineRefused):
        session.commit([ModifiedAt("/a", 0)], [Put("/a", b"x")])
    assert asked == ["/a"]


# --- feeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["is_cut", "is_silent"])
def test_a_feed_goes_on_at_the_next_member_and_loses_nothing(
    session: Session, members: list[MemoryEngine], outside: MemoryEngine, fault: str
) -> None:
    session.start()
    wait_for(lambda: attached(session), "attached")
    with session.follow("/", session.read("/").revision) as feed:
        written(outside, Put("/a", b"x"))
        assert [item.key for item in collected(feed, lambda got: len(got) == 1)[0].put] == ["/a"]
        setattr(members[0].faults, fault, True)
        written(outside, Put("/b", b"x"))
        written(outside, Put("/c", b"x"))
        batches = collected(feed, lambda got: len(got) == 2)
    assert [batch.put[0].key for batch in batches] == ["/b", "/c"]
    assert session.member is not members[0]


def test_a_feed_without_a_member_waits_and_then_goes_on(
    session: Session, members: list[MemoryEngine], outside: MemoryEngine
) -> None:
    with session.follow("/", session.read("/").revision) as feed:
        for member in members:
            member.faults.is_cut = True
        assert feed.next(0) is None
        written(outside, Put("/a", b"x"))
        assert feed.next(0.01) is None
        members[2].faults.is_cut = False
        (batch,) = collected(feed, lambda got: len(got) == 1)
    assert batch.put[0].key == "/a"


def test_a_feed_says_that_history_was_compacted_while_it_was_away(
    session: Session, members: list[MemoryEngine], outside: MemoryEngine
) -> None:
    with session.follow("/", session.read("/").revision) as feed:
        for member in members:
            member.faults.is_cut = True
        assert feed.next(0) is None
        written(outside, Put("/a", b"x"))
        outside.store.compact()
        for member in members:
            member.faults.is_cut = False
        with pytest.raises(Compacted):
            collected(feed, lambda got: False)


def test_a_feed_says_that_the_engine_went_back(session: Session, outside: MemoryEngine) -> None:
    snapshot = outside.store.snapshot()
    latest = written(outside, Put("/a", b"x"))
    with session.follow("/", latest) as feed:
        assert feed.next(0) is None
        outside.store.restore(snapshot)
        with pytest.raises(WentBack):
            collected(feed, lambda got: False)


def test_a_feed_says_so_even_if_only_a_reading_showed_it(session: Session, outside: MemoryEngine) -> None:
    snapshot = outside.store.snapshot()
    start = session.read("/").revision
    written(session, Put("/b", b"x"))
    written(session, Put("/b", b"y"))
    outside.store.restore(snapshot)
    feed = session.follow("/", start)
    assert session.read("/").revision == start
    with pytest.raises(WentBack):
        feed.next(0)
    assert session.follow("/", session.read("/").revision).next(0) is None


def test_closing_the_session_ends_its_feeds(session: Session) -> None:
    feed = session.follow("/", session.read("/").revision)
    ended = threading.Event()

    def wait() -> None:
        try:
            while True:
                feed.next(60)
        except EngineLost:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    session.close()
    thread.join(15)
    assert ended.is_set()


# --- the lease --------------------------------------------------------------------------------------------------------


def test_a_session_that_started_is_attached_and_holds_a_lease(session: Session) -> None:
    assert not attached(session)
    session.start()
    wait_for(lambda: session.lease, "a lease")
    assert attached(session)


def test_the_lease_survives_a_move(session: Session, members: list[MemoryEngine], outside: MemoryEngine) -> None:
    session.start()
    lease = wait_for(lambda: session.lease, "a lease")
    written(session, Put("/node", b"x", lease))
    members[0].faults.is_silent = True
    wait_for(lambda: session.attachment.member != "member-0", "moved")
    assert session.lease == lease
    assert [item.key for item in outside.read("/").items] == ["/node"]


def test_a_move_is_logged_once_and_an_outage_once(
    session: Session, members: list[MemoryEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "certstore.cluster.session")
    session.start()
    wait_for(lambda: attached(session), "attached")
    members[0].faults.is_cut = True
    wait_for(lambda: session.attachment.member == "member-1", "moved")
    for member in members:
        member.faults.is_cut = True
    wait_for(lambda: not attached(session), "detached")
    for _ in range(5):
        with pytest.raises(EngineLost):
            session.read("/")
    members[2].faults.is_cut = False
    wait_for(lambda: attached(session), "attached again")
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "moved" in line] == [
        "cluster: moved to the engine's member member-1: member-0: can't be reached"
    ]
    assert len([line for line in said if "no member" in line]) == 1
    assert len([line for line in said if "attached" in line]) == 2


def test_without_an_answer_the_lease_is_not_counted_on_after_its_time(
    session: Session, members: list[MemoryEngine], clock: Clock
) -> None:
    session.start()
    lease = wait_for(lambda: session.lease, "a lease")
    for member in members:
        member.faults.is_cut = True
    wait_for(lambda: not attached(session), "detached")
    clock.now += 9
    assert session.lease in (lease, 0)
    clock.now += 2
    assert session.lease == 0
    assert "can't be reached" in session.attachment.reason


def test_a_lease_that_ended_at_the_engine_is_replaced_by_another(
    session: Session, members: list[MemoryEngine], outside: MemoryEngine, clock: Clock
) -> None:
    session.start()
    first = wait_for(lambda: session.lease, "a lease")
    created = written(session, Put("/lock", b"x", first))
    for member in members:
        member.faults.is_cut = True
    wait_for(lambda: not attached(session), "detached")
    clock.now += 20
    assert outside.read("/").items == ()
    for member in members:
        member.faults.is_cut = False
    second = wait_for(lambda: session.lease, "another lease")
    assert second != first
    assert isinstance(session.commit([CreatedAt("/lock", created)], [Put("/a", b"x")]), Lost)


def test_a_full_engine_gives_no_lease_and_the_session_says_why(session: Session, outside: MemoryEngine) -> None:
    outside.store.is_full = True
    session.start()
    wait_for(lambda: attached(session), "attached")
    assert session.lease == 0
    assert "space exceeded" in session.attachment.reason
    outside.store.is_full = False
    wait_for(lambda: session.lease, "a lease")
    wait_for(lambda: not session.attachment.reason, "no complaint")


def test_a_fault_of_this_program_does_not_end_the_lease_for_good(
    session: Session, members: list[MemoryEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an answer whose number no duration can be, or no room for another thread."""
    session.start()
    wait_for(lambda: session.lease != 0, "a lease")
    happened = threading.Event()

    def fail(*_: object) -> timedelta:
        happened.set()
        raise OverflowError("days=10000000000; must have magnitude <= 999999999")

    with monkeypatch.context() as patched:
        for member in members:
            patched.setattr(member, "keep", fail)
        wait_for(happened.is_set, "the fault")
        wait_for(lambda: not attached(session), "it says so")
    wait_for(lambda: attached(session), "it goes on")


def test_closing_gives_the_lease_back_at_once(session: Session, outside: MemoryEngine) -> None:
    session.start()
    lease = wait_for(lambda: session.lease, "a lease")
    written(session, Put("/node", b"x", lease))
    session.close()
    assert outside.read("/").items == ()


def test_a_lease_lasts_as_long_as_was_asked_for(members: list[MemoryEngine], outside: MemoryEngine) -> None:
    with Session(members, ttl=timedelta(seconds=33)) as session:
        session.start()
        lease = wait_for(lambda: session.lease, "a lease")
        assert outside.keep(lease) == timedelta(seconds=33)
