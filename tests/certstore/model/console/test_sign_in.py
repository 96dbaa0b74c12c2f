from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.console.sign_in import (
    FORGOTTEN_AFTER,
    FREE_FAILURES,
    LONGEST_BY_ADDRESS,
    LONGEST_BY_NAME,
    Failures,
    after_failure,
    open_at,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def failures(count: int) -> Failures:
    return Failures(count, NOW)


@pytest.mark.parametrize("count", range(FREE_FAILURES + 1))
def test_first_failures_cost_no_wait(count: int) -> None:
    assert open_at(failures(count), NOW, LONGEST_BY_ADDRESS) is None


@pytest.mark.parametrize(("count", "seconds"), [(4, 2), (5, 4), (6, 8), (10, 128), (12, 512), (13, 900), (10_000, 900)])
def test_wait_doubles_up_to_a_bound(count: int, seconds: int) -> None:
    assert open_at(failures(count), NOW, LONGEST_BY_ADDRESS) == NOW + timedelta(seconds=seconds)


def test_nobody_is_locked_out_by_name_for_long() -> None:
    assert open_at(failures(1_000), NOW, LONGEST_BY_NAME) == NOW + LONGEST_BY_NAME


def test_wait_ends() -> None:
    assert open_at(failures(5), NOW + timedelta(seconds=4), LONGEST_BY_ADDRESS) is None


def test_failures_are_forgotten_after_a_while() -> None:
    later = NOW + FORGOTTEN_AFTER
    assert open_at(failures(50), later, LONGEST_BY_ADDRESS) is None
    assert after_failure(failures(50), later) == Failures(1, later)


def test_failures_in_a_row_are_counted() -> None:
    assert after_failure(after_failure(None, NOW), NOW) == Failures(2, NOW)
