"""Time limits of single pieces of work, and stops during them."""

import threading

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.order_context import Interrupted


def test_work_is_told_its_time_and_gives_its_result() -> None:
    assert 0 < Bounds(5).run(lambda seconds: seconds, 60) <= 5
    assert Bounds(60).within(5).budget.seconds <= 5


def test_what_work_raises_comes_through() -> None:
    def fail(seconds: float) -> None:
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        Bounds(5).run(fail, 5)


def test_work_that_takes_longer_is_given_up() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError):
        Bounds(5).run(lambda seconds: released.wait(), 0.1)
    released.set()
    with pytest.raises(TimeoutError):
        Bounds(0).run(lambda seconds: None, 5)


def test_a_stop_ends_the_wait_for_work_and_a_pause() -> None:
    stopping, released = threading.Event(), threading.Event()

    def work(seconds: float) -> None:
        stopping.set()
        released.wait()

    bounds = Bounds(600, stopping.wait)
    with pytest.raises(Interrupted):
        bounds.run(work, 600)
    with pytest.raises(Interrupted):
        bounds.pause(600)
    released.set()


def test_each_of_several_has_a_result_or_none() -> None:
    released = threading.Event()

    def work(item: str) -> str:
        if item == "slow":
            released.wait()
        return item.upper()

    assert list(Bounds(5).run_all(work, ["a", "slow", "b"], 0.3)) == ["A", None, "B"]
    released.set()
