"""Which entries of the audit log a filter chooses."""

from datetime import date
from typing import Any

import pytest

from certstore.people.audit_selection import AuditSelection

ENTRY = {
    "at": "2026-03-05T23:30:00.000+00:00",
    "who": "user anna",
    "from": "192.0.2.7",
    "action": "cert.order",
    "site": "www.one.test",
}
DAY = date(2026, 3, 5)


@pytest.mark.parametrize(
    ("chosen", "is_matched"),
    [
        ({}, True),
        ({"who": "ANNA"}, True),
        ({"who": "192.0.2."}, True),
        ({"who": "bert"}, False),
        ({"action": "cert.order"}, True),
        ({"action": "cert"}, False),
        ({"site": "One.test"}, True),
        ({"site": "two.test"}, False),
        ({"since": DAY, "until": DAY}, True),
        ({"since": date(2026, 3, 6)}, False),
        ({"until": date(2026, 3, 4)}, False),
        ({"who": "anna", "site": "two.test"}, False),
    ],
)
def test_all_that_is_given_must_match(chosen: dict[str, Any], is_matched: bool) -> None:
    assert AuditSelection(**chosen).matches(ENTRY) is is_matched


@pytest.mark.parametrize(
    "entry", [{}, {"at": "yesterday"}, {"at": None, "site": None}, {"at": "0001-01-01T00:00:00+12:00"}]
)
def test_an_odd_entry_matches_no_range_and_no_site(entry: dict[str, Any]) -> None:
    assert AuditSelection().matches(entry)
    assert not AuditSelection(since=DAY).matches(entry)
    assert not AuditSelection(site="one.test").matches(entry)


def test_search_ends_at_the_first_entry_that_is_surely_too_old() -> None:
    assert AuditSelection(since=date(2026, 3, 7)).ends_before(ENTRY)
    assert not AuditSelection(since=date(2026, 3, 6)).ends_before(ENTRY), "a clock may have been set back"
    assert not AuditSelection().ends_before(ENTRY)
    assert not AuditSelection(since=date.min).ends_before(ENTRY)
    assert AuditSelection(since=date.max).ends_before(ENTRY)
