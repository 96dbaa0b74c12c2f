"""Coarse timers on an event loop whose clock the test controls."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from edge_addon.transport.timers import LONGEST_WAIT, Timers


class HeldLoop:
    """The part of an event loop that timers use; `advance` moves its clock tick by tick."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.faults: list[dict[str, object]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.due.append((self.now + delay, callback))
        return cast(asyncio.TimerHandle, None)

    def call_exception_handler(self, context: dict[str, object]) -> None:
        self.faults.append(context)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and min(self.due)[0] <= end:
            at, callback = min(self.due, key=lambda item: item[0])
            self.due.remove((at, callback))
            self.now = at
            callback()
        self.now = end


@pytest.fixture
def loop() -> HeldLoop:
    return HeldLoop()


@pytest.fixture
def timers(loop: HeldLoop) -> Timers:
    return Timers(cast(asyncio.AbstractEventLoop, loop))


def test_timer_fires_up_to_a_second_late_and_never_early(loop: HeldLoop, timers: Timers) -> None:
    fired: list[float] = []
    for hundredths in range(0, 300, 7):
        timers.timer().set(10 + hundredths / 100, lambda due=110 + hundredths / 100: fired.append(loop.now - due))  # type: ignore[misc]

    loop.advance(20)

    assert len(fired) == len(range(0, 300, 7))
    assert min(fired) >= 0
    assert max(fired) <= 2


def test_cancelled_timer_never_fires(loop: HeldLoop, timers: Timers) -> None:
    fired: list[str] = []
    timer = timers.timer()
    timer.set(3, lambda: fired.append("cancelled"))
    timers.timer().set(3, lambda: fired.append("other"))

    timer.cancel()
    loop.advance(10)

    assert fired == ["other"]


def test_timer_moved_later_fires_only_then(loop: HeldLoop, timers: Timers) -> None:
    fired: list[float] = []
    timer = timers.timer()
    timer.set(5, lambda: fired.append(-1.0))
    loop.advance(4)
    timer.set(20, lambda: fired.append(loop.now))

    loop.advance(60)

    assert len(fired) == 1
    assert 124 <= fired[0] <= 126


def test_timer_brought_forward_fires_early_and_once(loop: HeldLoop, timers: Timers) -> None:
    fired: list[float] = []
    timer = timers.timer()
    timer.set(3900, lambda: fired.append(-1.0))
    timer.set(10, lambda: fired.append(loop.now))

    loop.advance(5000)

    assert len(fired) == 1
    assert 110 <= fired[0] <= 112


def test_a_timer_set_for_each_of_many_requests_takes_one_slot(loop: HeldLoop, timers: Timers) -> None:
    timer = timers.timer()
    for _ in range(1000):
        timer.set(20, lambda: None)
        timer.set(3900, lambda: None)

    assert sum(len(slot) for slot in timers._slots.values()) <= 2


def test_a_failing_callback_does_not_stop_the_others(loop: HeldLoop, timers: Timers) -> None:
    fired: list[str] = []

    def fail() -> None:
        raise RuntimeError("a fault")

    timers.timer().set(3, fail)
    timers.timer().set(3, lambda: fired.append("same slot"))
    timers.timer().set(8, lambda: fired.append("later slot"))

    loop.advance(20)

    assert fired == ["same slot", "later slot"]
    assert len(loop.faults) == 1


def test_timer_can_be_set_again_from_its_own_callback(loop: HeldLoop, timers: Timers) -> None:
    fired: list[float] = []
    timer = timers.timer()

    def again() -> None:
        fired.append(loop.now)
        if len(fired) < 3:
            timer.set(5, again)

    timer.set(5, again)
    loop.advance(60)

    assert len(fired) == 3


def test_stop_clears_every_timer(loop: HeldLoop, timers: Timers) -> None:
    fired: list[str] = []
    timers.timer().set(3, lambda: fired.append("late"))

    timers._tick = None
    timers.stop()
    loop.advance(10)

    assert fired == []


def test_a_cancelled_timer_is_released_long_before_its_time(loop: HeldLoop, timers: Timers) -> None:
    """An idle limit of an hour must not keep every connection of the last hour in memory."""
    for _ in range(100):
        timer = timers.timer()
        timer.set(3600, lambda: None)
        timer.cancel()
    loop.advance(LONGEST_WAIT + 2)

    assert not timers._slots


def test_a_far_deadline_is_kept_to_the_second(loop: HeldLoop, timers: Timers) -> None:
    fired: list[float] = []
    timers.timer().set(3900.5, lambda: fired.append(loop.now))
    loop.advance(4000)

    assert len(fired) == 1
    assert 4000.5 <= fired[0] < 4002
