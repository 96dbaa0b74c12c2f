"""Searching, filtering, sorting and paging of the overview: a query and rows in, one page out.

Pure, and fast enough for tens of thousands of rows at every request. A query can be built from any text that a client
sends: what is not understood falls back to what is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

PAGE_MOST = 200
LATEST = datetime.max.replace(tzinfo=UTC)


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
    standing: SiteStatus
    not_before: datetime | None
    not_after: datetime | None
    renews_at: datetime | None
    headline: str
    """The gravest problem in words; empty where there is none."""
    problems: int
    text: str
    """What a search looks through, in lower case."""


class Table:
    """Rows that never change, in every order that was asked for: sorted once, then read off for each request."""

    def __init__(self, rows: Iterable[SiteRow]) -> None:
        self.rows = tuple(rows)
        self._ordered: dict[Order, tuple[SiteRow, ...]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def ordered(self, order: Order) -> tuple[SiteRow, ...]:
        rows = self._ordered.get(order)
        if rows is None:
            rows = self._ordered[order] = self._sorted(order)
        return rows

    def where(self, is_found: Callable[[SiteRow], bool]) -> Table:
        return _Part(self, is_found)

    def standings(self) -> dict[SiteStatus, int]:
        """How many stand how. Counted without hashing: an enum's hash is slow, its identity is not."""
        all_of_them = [row.standing for row in self.rows]
        return {each: all_of_them.count(each) for each in SiteStatus}

    def _sorted(self, order: Order) -> tuple[SiteRow, ...]:
        return tuple(sorted(self.rows, key=_KEYS[order]))


class _Part(Table):
    """Some of a table's rows, in the orders that it knows already."""

    def __init__(self, whole: Table, is_found: Callable[[SiteRow], bool]) -> None:
        super().__init__(filter(is_found, whole.rows))
        self._whole = whole
        self._is_found = is_found

    def _sorted(self, order: Order) -> tuple[SiteRow, ...]:
        return tuple(filter(self._is_found, self._whole.ordered(order)))


@dataclass(frozen=True, slots=True)
class Query:
    search: str = ""
    standing: SiteStatus | None = None
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
    standings: dict[SiteStatus, int]
    found: Table
    """All that were found: what a chart is drawn from."""


def select_page(table: Table, query: Query) -> Page:
    found = table
    for is_found in _conditions(query):
        found = found.where(is_found)
    standings = found.standings()
    if query.standing is not None:
        found = found.where(lambda row: row.standing is query.standing)
    limit = min(max(query.limit, 1), PAGE_MOST)
    # A page behind the last one is the last one: rows may have gone since the link was made.
    last = max((len(found) - 1) // limit * limit, 0)
    offset = min(max(query.offset, 0), last)
    ordered = found.ordered(query.order)
    if query.is_descending:
        ordered = ordered[::-1]
    return Page(ordered[offset : offset + limit], len(found), standings, found)


def _conditions(query: Query) -> Iterator[Callable[[SiteRow], bool]]:
    """One for each thing that is asked, standings apart: most requests ask nothing."""
    for word in query.search.lower().split():
        yield _has_word(word)
    if (source := query.source) is not None:
        yield lambda row: row.source is source
    if (ends_from := query.ends_from) is not None:
        yield lambda row: row.not_after is not None and row.not_after >= ends_from
    if (ends_before := query.ends_before) is not None:
        yield lambda row: row.not_after is not None and row.not_after < ends_before


def _has_word(word: str) -> Callable[[SiteRow], bool]:
    return lambda row: word in row.text


def _by_problems(row: SiteRow) -> tuple[Any, ...]:
    return row.standing.rank, row.not_after or LATEST, row.site


_KEYS: dict[Order, Callable[[SiteRow], tuple[Any, ...]]] = {
    Order.PROBLEMS: _by_problems,
    Order.SITE: lambda row: (row.host, row.site),
    Order.ENDS: lambda row: (row.not_after or LATEST, row.site),
    Order.RENEWS: lambda row: (row.renews_at or LATEST, row.site),
}
