from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.findings import Finding
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record
from certstore.store.records import KEPT_ATTEMPTS, SiteRecords, read_records, same_findings, write_records

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITE = "a.test"
ONE, TWO = Finding("expired", "it expired"), Finding("self_signed", "it is self-signed")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.records_folder.mkdir()
    layout.temporary.mkdir()
    return layout


def record(number: int, outcome: Outcome, version: int | None = None) -> Record:
    return Record(NOW + timedelta(minutes=number), "intake", outcome, "x", f"attempt {number}", version)


def test_records_forget_the_oldest_attempts_but_not_what_was_live() -> None:
    records = SiteRecords()
    for number, version in enumerate([1, 2, 3]):
        records = records.with_attempt(record(number, Outcome.DONE, version))
    for number in range(10, 10 + 2 * KEPT_ATTEMPTS):
        records = records.with_attempt(record(number, Outcome.REFUSED))
    assert len(records.attempts) <= KEPT_ATTEMPTS + 2
    assert records.last_live == 3
    assert records.predecessor_of(3) == 2
    last = records.last_attempt
    assert last is not None
    assert last.message == f"attempt {9 + 2 * KEPT_ATTEMPTS}"


@pytest.mark.parametrize(
    ("attempts", "last_live", "before_three"),
    [
        pytest.param([], None, None, id="no attempts"),
        pytest.param([record(0, Outcome.REFUSED)], None, None, id="only a refusal"),
        pytest.param([record(0, Outcome.DONE)], None, None, id="a change without a version"),
        pytest.param([record(0, Outcome.NOTED, 2)], None, None, id="a version that was not made live"),
        pytest.param([record(0, Outcome.DONE, 3)], 3, None, id="the first version"),
        pytest.param([record(0, Outcome.DONE, 2), record(1, Outcome.DONE, 3)], 3, 2, id="the second version"),
        pytest.param([record(0, Outcome.DONE, 2), record(1, Outcome.FAILED, 3)], 2, 2, id="one that failed"),
        pytest.param([record(n, Outcome.DONE, v) for n, v in enumerate([2, 3, 2, 3])], 3, 2, id="there and back"),
    ],
)
def test_what_was_live(attempts: list[Record], last_live: int | None, before_three: int | None) -> None:
    records = SiteRecords(tuple(attempts))
    assert (records.last_live, records.predecessor_of(3)) == (last_live, before_three)


def test_records_come_back_from_disk(layout: Layout) -> None:
    records = SiteRecords((record(0, Outcome.DONE, 3), record(1, Outcome.REFUSED)), (ONE, TWO))
    write_records(layout, SITE, records)
    assert read_records(layout, SITE) == records
    assert layout.records(SITE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"5", id="no object"),
        pytest.param(b"{}", id="no attempts"),
        pytest.param(json.dumps({"attempts": [5], "problems": []}).encode(), id="an odd attempt"),
        pytest.param(json.dumps({"attempts": [], "problems": [["code"]]}).encode(), id="an odd problem"),
        pytest.param(b"[" * 100_000, id="nested without end"),
    ],
)
def test_unreadable_file_counts_as_no_history(layout: Layout, content: bytes) -> None:
    layout.records(SITE).write_bytes(content)
    assert read_records(layout, SITE) == SiteRecords()


def test_site_without_a_file_has_no_history(layout: Layout) -> None:
    assert read_records(layout, SITE) == SiteRecords()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param((), (), True, id="none"),
        pytest.param((ONE, TWO), [TWO, ONE], True, id="another order"),
        pytest.param((ONE,), (ONE, TWO), False, id="one more"),
        pytest.param((ONE,), (Finding("expired", "in other words"),), False, id="another message"),
        pytest.param((ONE,), (Finding("expired", "it expired", is_forcible=True),), True, id="forcible or not"),
    ],
)
def test_same_findings(one: tuple[Finding, ...], other: tuple[Finding, ...], expected: bool) -> None:
    assert same_findings(one, other) is expected
