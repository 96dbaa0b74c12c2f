"""Questions on threads of their own: in time, in turn, and never waited for at a stop."""

import subprocess
import sys
import threading
import time

import pytest

from certstore.net.lanes import Budget, gather


def test_results_come_in_turn_and_a_few_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01 if item % 2 else 0.03)
        with lock:
            running -= 1
        return item * item

    assert list(gather(work, range(20), at_once=4, budget=Budget(30))) == [item * item for item in range(20)]
    assert most <= 4


def test_what_is_late_has_no_result_and_the_rest_does() -> None:
    held = threading.Event()
    results = list(gather(lambda item: held.wait(30) if item == 1 else item, [0, 1, 2], at_once=2, budget=Budget(0.5)))
    held.set()
    assert results == [0, None, 2]


def test_a_fault_is_raised_where_the_result_is_awaited() -> None:
    results = gather(lambda item: 1 // item, [1, 0], at_once=1, budget=Budget(30))
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_check_that_raises_ends_the_wait() -> None:
    held, began = threading.Event(), time.monotonic()

    def check() -> None:
        if time.monotonic() - began > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(gather(lambda item: held.wait(30), [1], at_once=1, budget=Budget(30), check=check))
    held.set()
    assert time.monotonic() - began < 5


def test_a_part_is_never_longer_than_what_is_left_of_the_whole() -> None:
    whole = Budget(0.2)
    assert Budget(60, whole).left <= 0.2
    assert not whole.is_over
    assert Budget(0).is_over


def test_the_end_of_the_process_does_not_wait_for_a_lane() -> None:
    program = """
import threading
from certstore.net.lanes import Budget, gather
assert list(gather(lambda item: threading.Event().wait(), [1], at_once=1, budget=Budget(0.1))) == [None]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
