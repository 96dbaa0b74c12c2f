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
    def is_idle() -> bool:
        return queue.is_idle

    assert is_idle()
    queue.add_backlog([A])
    assert not is_idle()
    queue.take()
    assert not is_idle()
    taker = threading.Thread(target=queue.take)
    taker.start()
    wait_for(is_idle, "asking for the next place to mean that the one before is done with")
    queue.close()
    taker.join()
