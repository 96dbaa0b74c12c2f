"""Searching, filtering, sorting and paging of the overview: a query and rows in, one page out.

Pure, and fast enough for tens of thousands of rows at every request. A query can be built from any text that a client
sends: what is not understood falls back to what is usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from certstore.model.settings import Source
from certstore.model.standing import Standing

PAGE_MOST = 200
_FAR = datetime.max.replace(tzinfo=UTC)


class Order(StrEnum):
    """What rows are sorted by; `PROBLEMS` puts first who needs somebody first."""

    PROBLEMS = "problems"
    SITE = "site"
    ENDS = "ends"
    RENEWS = "renews"


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site in the overview. `renews_at` is None where nothing is renewed by itself."""

    site: str
    host: str
    names: tuple[str, ...]
    source: Source | None
    standing: Standing
    not_before: datetime | None
    not_after: datetime | None
    renews_at: datetime | None
    headline: str
    """The gravest problem in words; empty where there is none."""
    problems: int
    text: str
    """What a search looks through, in lower case."""


@dataclass(frozen=True, slots=True)
class Query:
    search: str = ""
    standing: Standing | None = None
    source: Source | None = None
    order: Order = Order.PROBLEMS
    is_descending: bool = False
    ends_from: datetime | None = None
    ends_before: datetime | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """`total` counts the rows that the query found; `standings` those found by all of it but its standing."""

    rows: tuple[SiteRow, ...]
    total: int
    standings: dict[Standing, int]
    found: tuple[SiteRow, ...]
    """All that were found, in no order: what a chart is drawn from."""


def select_page(rows: Sequence[SiteRow], query: Query) -> Page:
    found = [row for row in rows if _is_found(row, query)]
    standings = Counter(row.standing for row in found)
    if query.standing is not None:
        found = [row for row in found if row.standing is query.standing]
    limit = min(max(query.limit, 1), PAGE_MOST)
    # A page behind the last one is the last one: rows may have gone since the link was made.
    last = max((len(found) - 1) // limit * limit, 0)
    offset = min(max(query.offset, 0), last)
    ordered = sorted(found, key=_KEYS[query.order], reverse=query.is_descending)
    return Page(
        tuple(ordered[offset : offset + limit]),
        len(found),
        {each: standings.get(each, 0) for each in Standing},
        tuple(found),
    )


def _is_found(row: SiteRow, query: Query) -> bool:
    if query.source is not None and row.source is not query.source:
        return False
    if query.search and not all(word in row.text for word in query.search.lower().split()):
        return False
    if query.ends_from is not None and (row.not_after is None or row.not_after < query.ends_from):
        return False
    return query.ends_before is None or (row.not_after is not None and row.not_after < query.ends_before)


def _by_problems(row: SiteRow) -> tuple[Any, ...]:
    return row.standing.rank, row.not_after or _FAR, row.site


_KEYS: dict[Order, Callable[[SiteRow], tuple[Any, ...]]] = {
    Order.PROBLEMS: _by_problems,
    Order.SITE: lambda row: (row.host, row.site),
    Order.ENDS: lambda row: (row.not_after or _FAR, row.site),
    Order.RENEWS: lambda row: (row.renews_at or _FAR, row.site),
}
