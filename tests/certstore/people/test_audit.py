"""Entries of the audit log: every field is cut and printable, and a flood of one actor is summed up."""

import logging
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.people.audit import Audit
from certstore.people.audit_quota import REFUSED_MOST
from certstore.people.audit_selection import AuditSelection
from tests.certstore.renewal.scene import Clock

NASTY = "a\x1b[2Jb\r\nFAKE entry\u202e" + "x" * 5000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit(tmp_path: Path, clock: Clock) -> Audit:
    layout = Layout(tmp_path)
    layout.admin.mkdir(parents=True)
    return Audit(layout, clock)


@pytest.mark.parametrize("field", ["who", "address", "action", "site", "outcome", "detail"])
def test_every_field_is_cut_and_printable(audit: Audit, field: str) -> None:
    given = {"who": "nobody", "address": "::1", "action": "sign_in", "site": "a.test", "outcome": "refused"}
    audit.note(**(given | {"detail": ""} | {field: NASTY}))
    (entry,), _ = audit.page(None, 10)
    for value in entry.values():
        assert value is None or (value.isprintable() and len(value) <= 401)
    assert sum(map(len, audit.export())) < 4000


def test_a_flood_is_summed_up_and_hides_nothing(audit: Audit, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(REFUSED_MOST + 1000):
            audit.note("nobody", "192.0.2.1", "sign_in", None, "refused", f"try {number}")
    assert len(caplog.records) == 1
    audit.note("user anna", "192.0.2.2", "site.remove", "a.test", "done")
    clock.forward(hours=1)
    audit.note("user anna", "192.0.2.2", "sign_out", None, "done")
    entries, _ = audit.page(None, 10_000)
    assert len(entries) == REFUSED_MOST + 1 + 1 + 1 + 1
    texts = [entry["detail"] for entry in entries]
    assert sum("999 more like this one" in text for text in texts) == 1
    assert sum("too many entries" in text for text in texts) == 1
    assert [entry["action"] for entry in entries if entry["who"] == "user anna"] == ["sign_out", "site.remove"]


def test_a_filtered_page_looks_at_a_bounded_part_and_the_next_goes_on(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certstore.people.audit.LOOKED_AT_MOST", 10)
    for number in range(25):
        audit.note("user anna", "::1", "site.change", f"s{number}.test", "done")
    chosen, place, found, pages = AuditSelection(site="s0.test"), None, [], 0
    while pages == 0 or place is not None:
        entries, place = audit.page(place, 100, chosen)
        found += entries
        pages += 1
    assert [each["site"] for each in found] == ["s0.test"]
    assert pages == 3


def test_pages_of_a_filter_leave_out_and_repeat_nothing(audit: Audit) -> None:
    for number in range(30):
        audit.note(f"user {'anna' if number % 2 else 'bert'}", "::1", "site.change", f"s{number}.test", "done")
    first, place = audit.page(None, 10, AuditSelection(who="anna"))
    second, _ = audit.page(place, 10, AuditSelection(who="anna"))
    assert [each["site"] for each in first + second] == [f"s{number}.test" for number in range(29, 0, -2)]


def test_days_are_both_included(audit: Audit, clock: Clock) -> None:
    days = []
    for number in range(4):
        days.append(clock().date())
        audit.note("user anna", "::1", "site.change", f"s{number}.test", "done")
        clock.forward(hours=24)
    entries, older = audit.page(None, 10, AuditSelection(since=days[1], until=days[2]))
    assert [each["site"] for each in entries] == ["s2.test", "s1.test"]
    assert older is None
