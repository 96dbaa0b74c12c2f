"""What counts as the same name and the same address. The waits themselves: `model/console/test_sign_in.py`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.console.sign_in import FIRST_WAIT, FORGOTTEN_AFTER, FREE_FAILURES
from certstore.people import throttle as throttle_module
from certstore.people.throttle import Throttle

NAME, ADDRESS = "anna", "192.0.2.1"


class Time:
    now = datetime(2026, 11, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def throttle(time: Time) -> Throttle:
    return Throttle(time)


def fail(throttle: Throttle, name: str = NAME, address: str = ADDRESS, times: int = FREE_FAILURES + 1) -> None:
    for _ in range(times):
        throttle.count(name, address)


@pytest.mark.parametrize(
    ("failed_from", "asked_from", "is_slowed"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", True, id="the same IPv4 address"),
        pytest.param("192.0.2.1", "192.0.2.2", False, id="the next IPv4 address"),
        pytest.param("2001:db8::1", "2001:db8::ffff:1", True, id="the same /64"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="the next /64"),
        pytest.param("local socket", "local socket", True, id="the same text that is no address"),
        pytest.param("local socket", "192.0.2.1", False, id="another text"),
    ],
)
def test_address_is_slowed_down_for_every_name(
    throttle: Throttle, failed_from: str, asked_from: str, is_slowed: bool
) -> None:
    fail(throttle, address=failed_from)
    assert (throttle.wait("otto", asked_from) is not None) is is_slowed


@pytest.mark.parametrize(("name", "is_slowed"), [("anna", True), ("otto", False)])
def test_name_is_slowed_down_from_every_address(throttle: Throttle, name: str, is_slowed: bool) -> None:
    fail(throttle)
    assert (throttle.wait(name, "198.51.100.7") is not None) is is_slowed


@pytest.mark.parametrize(
    ("failures", "later", "wait"),
    [
        pytest.param(FREE_FAILURES, timedelta(), None, id="slips cost nothing"),
        pytest.param(FREE_FAILURES + 1, timedelta(), FIRST_WAIT, id="the first wait"),
        pytest.param(FREE_FAILURES + 1, FIRST_WAIT / 2, FIRST_WAIT / 2, id="half of it is over"),
        pytest.param(FREE_FAILURES + 1, FIRST_WAIT, None, id="it is over"),
        pytest.param(FREE_FAILURES + 9, FORGOTTEN_AFTER, None, id="forgotten"),
    ],
)
def test_wait(throttle: Throttle, time: Time, failures: int, later: timedelta, wait: timedelta | None) -> None:
    fail(throttle, times=failures)
    time.now += later
    assert throttle.wait(NAME, ADDRESS) == wait


def test_longer_wait_of_name_and_address_counts(throttle: Throttle) -> None:
    fail(throttle, name="otto", times=FREE_FAILURES + 3)
    fail(throttle, address="198.51.100.7")
    assert throttle.wait(NAME, ADDRESS) == 8 * FIRST_WAIT / 2


def test_success_forgives_the_name_and_the_address(throttle: Throttle) -> None:
    fail(throttle)
    throttle.succeeded(NAME, ADDRESS)
    assert throttle.wait(NAME, ADDRESS) is None


def test_success_with_one_name_forgives_no_guesses_at_others(throttle: Throttle) -> None:
    for number in range(FREE_FAILURES + 3):
        throttle.count(f"victim{number}", ADDRESS)
        throttle.count("own", ADDRESS)
        throttle.succeeded("own", ADDRESS)
    assert throttle.wait("somebody", ADDRESS) is not None


def test_of_many_attempts_at_once_no_more_are_let_in_than_one_after_another(throttle: Throttle) -> None:
    together = threading.Barrier(64)

    def attempt(number: int) -> bool:
        together.wait(30)
        return throttle.enter(NAME, f"192.0.2.{number}") is None

    with ThreadPoolExecutor(64) as pool:
        let_in = list(pool.map(attempt, range(64)))
    assert sum(let_in) == FREE_FAILURES + 1


def test_attempt_that_is_taken_back_does_not_count(throttle: Throttle) -> None:
    for _ in range(20):
        assert throttle.enter(NAME, ADDRESS) is None
        throttle.take_back(NAME, ADDRESS)


def test_memory_is_bounded_and_the_oldest_go_first(throttle: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "_REMEMBERED", 6)
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")):
        fail(throttle, name, address)
    assert throttle.wait("a", "192.0.2.1") is None
    assert throttle.wait("b", "198.51.100.7") is not None
    assert throttle.wait("c", "198.51.100.7") is not None
