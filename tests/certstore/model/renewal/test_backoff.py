from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.renewal.backoff import select_next_attempt

NOW = datetime(2027, 3, 1, tzinfo=UTC)
QUARTER = timedelta(days=90)
MINUTES = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("failures", "minutes"), [(1, 1), (2, 10), (3, 100), (4, 1440), (5, 1440), (400, 1440)], ids=str
)
def test_waits_grow_to_a_day(failures: int, minutes: int) -> None:
    assert select_next_attempt(failures, NOW, fraction=0.0, lifetime=QUARTER) == NOW + minutes * MINUTES


def test_waits_are_stretched_by_a_fifth_at_most() -> None:
    assert select_next_attempt(2, NOW, fraction=1.0, lifetime=QUARTER) == NOW + 12 * MINUTES


def test_short_life_is_tried_more_often_than_daily() -> None:
    wait = select_next_attempt(9, NOW, fraction=0.0, lifetime=timedelta(hours=160)) - NOW
    assert wait == timedelta(hours=160) / 30


def test_first_certificate_has_no_lifetime_to_think_of() -> None:
    assert select_next_attempt(9, NOW, fraction=0.0, lifetime=None) == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(timedelta(hours=3), timedelta(hours=3)), (timedelta(0), MINUTES), (timedelta(days=900), timedelta(days=2))],
    ids=["later than our step", "earlier than our step", "nonsense"],
)
def test_retry_after_is_obeyed_within_reason(asked: timedelta, waited: timedelta) -> None:
    found = select_next_attempt(1, NOW, fraction=0.0, lifetime=QUARTER, retry_after=NOW + asked)
    assert found == NOW + waited
