from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.console.listing import Order, Query, SiteRow, Table, select_page
from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def row(
    site: str, standing: SiteStatus = SiteStatus.OK, days: int | None = 30, source: Source = Source.FILE
) -> SiteRow:
    ends = NOW + timedelta(days=days) if days is not None else None
    return SiteRow(site, site, (site,), source, standing, None, ends, None, "", 0, f"{site} autodiscover.{site}")


ROWS = Table(
    (
        row("b.test"),
        row("a.test", SiteStatus.FAILING, -1),
        row("d.test", SiteStatus.WARNING, 3, Source.ACME),
        row("c.test", SiteStatus.NO_CERTIFICATE, None, Source.ACME),
    )
)


def sites(query: Query) -> list[str]:
    return [each.site for each in select_page(ROWS, query).rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(Query(), ["a.test", "d.test", "c.test", "b.test"], id="problems first"),
        pytest.param(Query(order=Order.SITE), ["a.test", "b.test", "c.test", "d.test"], id="by name"),
        pytest.param(Query(order=Order.SITE, is_descending=True, limit=1), ["d.test"], id="the last by name"),
        pytest.param(Query(order=Order.ENDS), ["a.test", "d.test", "b.test", "c.test"], id="no end comes last"),
        pytest.param(Query(search="AUTODISCOVER.b"), ["b.test"], id="found by an additional name"),
        pytest.param(Query(search="b autodiscover"), ["b.test"], id="all words, in any order"),
        pytest.param(Query(search="nothing"), [], id="nothing found"),
        pytest.param(Query(source=Source.ACME), ["d.test", "c.test"], id="by source"),
        pytest.param(Query(standing=SiteStatus.FAILING), ["a.test"], id="by standing"),
        pytest.param(Query(ends_before=NOW + timedelta(days=5)), ["a.test", "d.test"], id="that end soon"),
        pytest.param(Query(offset=99, limit=3), ["b.test"], id="a page behind the last is the last"),
    ],
)
def test_query(query: Query, expected: list[str]) -> None:
    assert sites(query) == expected


def test_numbers_beside_the_filters_do_not_depend_on_the_chosen_one() -> None:
    page = select_page(ROWS, Query(standing=SiteStatus.OK))
    assert (page.total, page.standings[SiteStatus.FAILING], page.standings[SiteStatus.OK]) == (1, 1, 1)


@given(st.text(), st.integers(), st.integers())
def test_any_query_has_an_answer(search: str, offset: int, limit: int) -> None:
    page = select_page(ROWS, Query(search=search, offset=offset, limit=limit))
    assert len(page.rows) <= max(page.total, 0)
