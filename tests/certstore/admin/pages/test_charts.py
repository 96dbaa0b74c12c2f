"""Geometry of the timeline and of a validity's bar: who is counted where."""

from datetime import UTC, datetime, timedelta

import pytest

from certstore.admin.pages.charts import HEIGHT, WIDTH, Bar, build_timeline, validity_bar
from certstore.model.console.listing import SiteRow, Table
from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(
    host: str, ends_in: float | None, *, renews_in: float | None = None, standing: SiteStatus = SiteStatus.OK
) -> SiteRow:
    ends = NOW + timedelta(days=ends_in) if ends_in is not None else None
    renews = NOW + timedelta(days=renews_in) if renews_in is not None else None
    return SiteRow(host, host, (host,), Source.FILE, standing, None, ends, renews, "", 0, host)


def test_column_names_who_ends_in_it_soonest_first() -> None:
    timeline = build_timeline(Table([row("b.test", 20.3), row("a.test", 20.1), row("c.test", 30)]), NOW)
    assert timeline is not None
    assert [(column.ending, column.hosts) for column in timeline.columns] == [
        (2, ("a.test", "b.test")),
        (1, ("c.test",)),
    ]
    for column in timeline.columns:
        assert column.start <= NOW + timedelta(days=30) < column.end or column.hosts != ("c.test",)


def test_renewals_are_counted_where_they_are_due_also_where_nothing_ends() -> None:
    timeline = build_timeline(Table([row("a.test", 60, renews_in=30), row("b.test", None, renews_in=0.1)]), NOW)
    assert timeline is not None
    assert [(column.ending, column.renewing) for column in timeline.columns] == [(0, 1), (0, 1), (1, 0)]


def test_what_lies_beyond_an_edge_counts_in_the_column_at_that_edge() -> None:
    timeline = build_timeline(Table([row("old.test", -900), row("a.test", 10), row("ten-years.test", 3650)]), NOW)
    assert timeline is not None
    first, *_, last = timeline.columns
    assert (first.x, first.hosts) == (2, ("old.test",))
    assert last.hosts == ("ten-years.test",)
    assert last.x + last.width <= WIDTH


def test_states_are_stacked_and_the_fullest_column_has_the_whole_height() -> None:
    rows = [row(f"{number}.test", 20.1) for number in range(3)] + [row("x.test", 20.2, standing=SiteStatus.FAILING)]
    timeline = build_timeline(Table(rows), NOW)
    assert timeline is not None
    (column,) = timeline.columns
    assert [(piece.standing, piece.height) for piece in column.pieces] == [
        (SiteStatus.OK, 0.75 * HEIGHT),
        (SiteStatus.FAILING, 0.25 * HEIGHT),
    ]
    assert column.pieces[-1].y == 0


def test_everybody_is_counted_once() -> None:
    rows = [row(f"{number}.test", number * 0.37 - 40, renews_in=number * 0.29 - 10) for number in range(1000)]
    timeline = build_timeline(Table(rows), NOW)
    assert timeline is not None
    assert sum(column.ending for column in timeline.columns) == 1000
    assert sum(column.renewing for column in timeline.columns) == 1000


def test_without_certificates_there_is_no_chart() -> None:
    assert build_timeline(Table([row("a.test", None)]), NOW) is None
    assert build_timeline(Table([]), NOW) is None


@pytest.mark.parametrize(
    ("begins", "ends", "renews", "expected"),
    [
        pytest.param(-30, 60, 30, Bar(33, 67), id="a third has passed"),
        pytest.param(-90, -1, None, Bar(100, None), id="expired"),
        pytest.param(1, 90, None, Bar(0, None), id="not yet valid"),
        pytest.param(-30, 60, 70, Bar(33, None), id="a renewal after the end is nowhere on it"),
        pytest.param(5, 5, None, None, id="no time at all"),
    ],
)
def test_validity_bar(begins: float, ends: float, renews: float | None, expected: Bar | None) -> None:
    at = NOW + timedelta(days=renews) if renews is not None else None
    assert validity_bar(NOW + timedelta(days=begins), NOW + timedelta(days=ends), at, NOW) == expected
