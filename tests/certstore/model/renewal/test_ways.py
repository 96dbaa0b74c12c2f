from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certstore.model.renewal.ways import WayFailure, failed_by_name, next_way, with_failure, without_failure

NOW = datetime(2027, 3, 1, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
FIRST, SECOND = WayFailure("a.test", "http-01", EARLIER), WayFailure("a.test", "dns-01", NOW)


def test_latest_failure_of_a_name_comes_last() -> None:
    other = WayFailure("b.test", "http-01", NOW)
    assert failed_by_name([SECOND, other, FIRST]) == {"a.test": ("http-01", "dns-01"), "b.test": ("http-01",)}


def test_way_that_fails_again_is_listed_once() -> None:
    again = WayFailure("a.test", "http-01", NOW)
    assert with_failure((FIRST, SECOND), again) == (SECOND, again)
    assert without_failure((FIRST, SECOND), "a.test", "dns-01") == (FIRST,)
    assert without_failure((FIRST,), "b.test", "http-01") == (FIRST,)


def test_next_way_is_the_first_that_has_not_failed_in_this_row() -> None:
    ways = ("http-01", "tls-alpn-01", "dns-01")
    assert next_way("a.test", ways, (FIRST, SECOND)) == "tls-alpn-01"
    assert next_way("a.test", ways, (replace(FIRST, is_past=True), SECOND)) == "http-01"
    assert next_way("b.test", ways, (FIRST, SECOND)) == "http-01"
    assert next_way("a.test", ("http-01",), (FIRST,)) is None
