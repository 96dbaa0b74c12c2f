"""What the nodes have solved stays in sight for a day."""

from datetime import UTC, datetime, timedelta

from certstore.cluster import lately
from certstore.cluster.lately import LASTS, Lately

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_the_latest_comes_first_and_a_day_is_enough() -> None:
    seen = Lately()
    for hours, what in ((0, "a"), (1, "b"), (2, "a")):
        seen.note(what, NOW + timedelta(hours=hours))
    assert seen.since(NOW + timedelta(hours=3)) == ["a", "b"]
    assert seen.since(NOW + LASTS + timedelta(hours=1)) == ["a"]
    assert seen.since(NOW + LASTS + timedelta(hours=2)) == []


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    seen = Lately()
    seen.note("a", NOW)
    assert seen.since(NOW - timedelta(days=400)) == ["a"]


def test_it_does_not_grow_without_end() -> None:
    seen = Lately()
    for number in range(3 * lately._MOST):
        seen.note(str(number), NOW)
    assert len(seen.since(NOW)) == lately._MOST
