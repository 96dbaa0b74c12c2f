"""Searches, filters, sorts and pages the overview: a query and rows in, one page out.

Pure, and fast enough for tens of thousands of rows in every request. Any numbers and text that a client sends make a
valid query.
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
    """What rows are sorted by; `PROBLEMS` puts the most urgent site first."""

    PROBLEMS = "problems"
    SITE = "site"
    ENDS = "ends"
    RENEWS = "renews"


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site in the overview. `renews_at` is None if the certificate is not renewed automatically."""

    site: str
    host: str
    names: tuple[str, ...]
    source: Source | None
    standing: SiteStatus
    not_before: datetime | None
    not_after: datetime | None
    renews_at: datetime | None
    headline: str
    """The gravest problem in words; empty if there is none."""
    problems: int
    text: str
    """The text that a search looks through, in lower case."""


class Table:
    """Rows that never change; each order is sorted once, when it is first needed."""

    def __init__(self, rows: Iterable[SiteRow]) -> None:
        self.rows = tuple(rows)
        self._ordered: dict[Order, tuple[SiteRow, ...]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def ordered(self, order: Order) -> tuple[SiteRow, ...]:
        if order not in self._ordered:
            self._ordered[order] = self._sorted(order)
        return self._ordered[order]

    def where(self, is_found: Callable[[SiteRow], bool]) -> Table:
        return _Part(self, is_found)

    def standings(self) -> dict[SiteStatus, int]:
        """The number of rows per status. Counted without hashing: an enum's hash is slow, its identity is not."""
        found = [row.standing for row in self.rows]
        return {each: found.count(each) for each in SiteStatus}

    def _sorted(self, order: Order) -> tuple[SiteRow, ...]:
        return tuple(sorted(self.rows, key=_KEYS[order]))


class _Part(Table):
    """Some of a table's rows, filtered out of its sorted orders."""

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
    """`total` counts the rows that the query found; `standings` those it would find without its status."""

    rows: tuple[SiteRow, ...]
    total: int
    standings: dict[SiteStatus, int]
    found: Table
    """All rows that were found, for the charts."""


def select_page(table: Table, query: Query) -> Page:
    found = table
    for is_found in _conditions(query):
        found = found.where(is_found)
    standings = found.standings()
    if query.standing is not None:
        found = found.where(lambda row: row.standing is query.standing)
    limit = min(max(query.limit, 1), PAGE_MOST)
    # Beyond the last page, show the last one: rows may have gone since the link was made.
    last = max((len(found) - 1) // limit * limit, 0)
    offset = min(max(query.offset, 0), last)
    ordered = found.ordered(query.order)
    if query.is_descending:
        ordered = ordered[::-1]
    return Page(ordered[offset : offset + limit], len(found), standings, found)


def _conditions(query: Query) -> Iterator[Callable[[SiteRow], bool]]:
    """One filter for each part of the query except the status; most queries have none."""
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


_KEYS: dict[Order, Callable[[SiteRow], tuple[Any, ...]]] = {
    Order.PROBLEMS: lambda row: (row.standing.rank, row.not_after or LATEST, row.site),
    Order.SITE: lambda row: (row.host, row.site),
    Order.ENDS: lambda row: (row.not_after or LATEST, row.site),
    Order.RENEWS: lambda row: (row.renews_at or LATEST, row.site),
}
