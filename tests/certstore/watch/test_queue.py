import threading
import time

import pytest

from certstore.watch.queue import CheckQueue, Kind, Place
from tests.deadlines import wait_for

A, B = Place(Kind.FOLDER, "a"), Place(Kind.FILE, "b")


@pytest.fixture
def queue() -> CheckQueue:
    return CheckQueue(quiet=0.05, longest=0.3)


def test_a_touched_place_is_due_after_a_quiet_moment_and_once(queue: CheckQueue) -> None:
    began = time.monotonic()
    for _ in range(5):
        queue.touch(A)
    assert queue.take() == A
    assert time.monotonic() - began >= 0.05
    threading.Timer(0.2, queue.close).start()
    assert queue.take() is None


def test_a_place_that_never_rests_is_due_all_the_same() -> None:
    queue = CheckQueue(quiet=60, longest=0.3)
    began = time.monotonic()
    queue.touch(A)
    threading.Timer(0.1, queue.touch, (A,)).start()
    assert queue.take() == A
    assert time.monotonic() - began >= 0.3


def test_what_was_just_touched_goes_before_a_backlog() -> None:
    queue = CheckQueue(quiet=0, longest=0.3)
    queue.add_backlog(Place(Kind.SITE, str(number)) for number in range(1000))
    queue.touch(A)
    assert queue.take() == A
    assert queue.backlog == 1000
    assert queue.take() == Place(Kind.SITE, "0")


def test_a_place_in_the_backlog_that_is_touched_is_checked_at_once_and_only_then() -> None:
    queue = CheckQueue(quiet=0, longest=0.3)
    queue.add_backlog([B, A])
    queue.touch(A)
    assert [queue.take(), queue.take()] == [A, B]
    assert queue.backlog == 0


def test_a_later_check_does_not_put_off_what_is_due_before(queue: CheckQueue) -> None:
    queue.touch(A)
    queue.check_later(A, 60)
    began = time.monotonic()
    assert queue.take() == A
    assert time.monotonic() - began < 5


def test_idle_means_nothing_waits_and_nothing_is_in_hand(queue: CheckQueue) -> None:
    states = [queue.is_idle]
    queue.add_backlog([A])
    states.append(queue.is_idle)
    assert queue.take() == A
    states.append(queue.is_idle)
    queue.done(A)
    states.append(queue.is_idle)
    assert states == [True, False, False, True]


# Several takers

C, D = Place(Kind.FILE, "c"), Place(Kind.FILE, "d")


@pytest.fixture
def hasty() -> CheckQueue:
    return CheckQueue(quiet=0, longest=0.3)


def test_a_place_that_changes_while_it_is_checked_is_checked_again_afterwards(hasty: CheckQueue) -> None:
    hasty.touch(A)
    assert hasty.take() == A
    hasty.touch(A)
    hasty.add_backlog([A, B])
    assert hasty.take() == B, "nobody checks one place twice at a time"
    hasty.done(A)
    assert hasty.take() == A


def test_of_one_tenant_one_place_is_checked_at_a_time_in_the_order_of_their_coming(hasty: CheckQueue) -> None:
    hasty.add_backlog([A, B, C])
    assert [hasty.take(), hasty.take(), hasty.take()] == [A, B, C]
    assert hasty.begin(A, "one")
    assert not hasty.begin(B, "one")
    assert hasty.begin(C, "another")
    hasty.touch(D)
    assert hasty.take() == D
    assert not hasty.begin(D, "one")
    assert hasty.backlog == 1
    hasty.done(A)
    assert hasty.take() == D, "what was just touched goes before a backlog"
    assert hasty.begin(D, "one")
    hasty.done(D)
    assert hasty.take() == B
    hasty.done(B)
    hasty.done(C)
    assert hasty.is_idle


def test_a_place_that_changes_hands_leaves_its_turn_to_the_next(hasty: CheckQueue) -> None:
    hasty.add_backlog([A, B, C])
    assert [hasty.take(), hasty.take(), hasty.take()] == [A, B, C]
    assert hasty.begin(A, "one")
    assert not hasty.begin(B, "one")
    assert not hasty.begin(C, "one")
    hasty.done(A)
    assert hasty.take() == B
    assert hasty.begin(B, "another")
    assert hasty.take() == C
    assert hasty.begin(C, "one")
    for each in (B, C):
        hasty.done(each)
    assert hasty.is_idle


def test_thousands_of_places_of_one_tenant_are_all_checked(hasty: CheckQueue) -> None:
    places = {Place(Kind.FOLDER, str(number)) for number in range(3000)}
    hasty.add_backlog(places)
    checked: list[Place] = []

    def work() -> None:
        while (place := hasty.take()) is not None:
            if hasty.begin(place, "one"):
                checked.append(place)
                hasty.done(place)

    takers = [threading.Thread(target=work) for _ in range(3)]
    for each in takers:
        each.start()
    wait_for(lambda: hasty.is_idle, "every place to be checked")
    hasty.close()
    for each in takers:
        each.join()
    assert sorted(checked) == sorted(places)
