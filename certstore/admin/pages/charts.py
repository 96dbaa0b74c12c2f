"""The geometry of the charts: the bar of one certificate's validity, the timeline of all expiries. Pure; no markup.

Coordinates are for an SVG 1000 units wide; the templates turn them into elements.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from certstore.model.console.listing import LATEST, Order, SiteRow, Table
from certstore.model.console.standing import SiteStatus

WIDTH = 1000
HEIGHT = 120
_BUCKETS = 48
_NAMED = 8
_STACK = (SiteStatus.OK, SiteStatus.MAIN_USED, SiteStatus.NO_CERTIFICATE, SiteStatus.WARNING, SiteStatus.FAILING)


@dataclass(frozen=True, slots=True)
class Bar:
    """Percentages of a validity: how much has passed, and where the renewal is due (None: not within it)."""

    passed: int
    renews: int | None


def validity_bar(
    not_before: datetime | None, not_after: datetime | None, renews_at: datetime | None, now: datetime
) -> Bar | None:
    if not_before is None or not_after is None or not_after <= not_before:
        return None
    return Bar(
        _percent(not_before, not_after, now),
        _percent(not_before, not_after, renews_at)
        if renews_at is not None and not_before <= renews_at <= not_after
        else None,
    )


def _percent(start: datetime, end: datetime, at: datetime) -> int:
    return round(100 * min(max((at - start) / (end - start), 0.0), 1.0))


@dataclass(frozen=True, slots=True)
class Piece:
    """One colour's part of a column; y grows downwards."""

    standing: SiteStatus
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    start: datetime
    end: datetime
    x: float
    width: float
    pieces: tuple[Piece, ...]
    ending: int
    renewing: int
    renewing_height: float
    hosts: tuple[str, ...]
    """Some of the hosts whose certificates expire; `ending` may be more."""


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    now_x: float
    most: int


def build_timeline(table: Table, now: datetime) -> Timeline | None:
    """When certificates expire and renewals are due, in columns of whole days; None if nothing expires."""
    ends, renewals = table.ordered(Order.ENDS), table.ordered(Order.RENEWS)
    # Rows without an instant come last.
    ends = ends[: bisect_left(ends, LATEST, key=lambda row: row.not_after or LATEST)]
    renewals = renewals[: bisect_left(renewals, LATEST, key=lambda row: row.renews_at or LATEST)]
    if not ends:
        return None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    farthest = ends[-1].not_after or now
    # Nobody plans beyond 400 days, and a self-signed certificate of ten years must not flatten everything else.
    span = min(max(farthest - today, timedelta(days=44)), timedelta(days=400))
    days = -(-(span.days + 7) // (_BUCKETS - 2))
    start = today - timedelta(days=max(days * 2, 7))
    ending = _split(ends, start, days, lambda row: row.not_after or LATEST)
    renewing = [len(each) for each in _split(renewals, start, days, lambda row: row.renews_at or LATEST)]
    most = max(1, *map(len, ending), *renewing)
    columns = tuple(
        _column(number, start, days, ending[number], renewing[number], most)
        for number in range(_BUCKETS)
        if ending[number] or renewing[number]
    )
    whole = timedelta(days=days * _BUCKETS)
    return Timeline(columns, _ticks(start, whole), _place(now, start, whole), most)


def _split(
    rows: Sequence[SiteRow], start: datetime, days: int, instant: Callable[[SiteRow], datetime]
) -> list[Sequence[SiteRow]]:
    """Rows in order of their instants, cut at the columns' edges. Those beyond the first or last column count in it."""
    edges = [start + timedelta(days=number * days) for number in range(1, _BUCKETS)]
    cuts = [0, *(bisect_left(rows, edge, key=instant) for edge in edges), len(rows)]
    return [rows[first:last] for first, last in pairwise(cuts)]


def _column(number: int, start: datetime, days: int, ending: Sequence[SiteRow], renewing: int, most: int) -> Column:
    standings = [row.standing for row in ending]
    pieces, y = [], float(HEIGHT)
    for standing in _STACK:
        if count := standings.count(standing):
            height = max(HEIGHT * count / most, 3.0)
            y -= height
            pieces.append(Piece(standing, round(y, 1), round(height, 1)))
    width = WIDTH / _BUCKETS
    begins = start + timedelta(days=number * days)
    return Column(
        begins,
        begins + timedelta(days=days),
        round(number * width + 2, 1),
        round(width - 4, 1),
        tuple(pieces),
        len(ending),
        renewing,
        round(max(HEIGHT / 4 * renewing / most, 3.0), 1) if renewing else 0.0,
        tuple(row.host for row in ending[:_NAMED]),
    )


def _ticks(start: datetime, whole: timedelta) -> tuple[Tick, ...]:
    """The first of each month, or of every nth month if that would be too many."""
    ticks, at = [], start.replace(day=1)
    while at < start + whole:
        if at > start:
            ticks.append(Tick(_place(at, start, whole), at))
        at = (at + timedelta(days=32)).replace(day=1)
    return tuple(ticks[:: 1 + len(ticks) // 8])


def _place(at: datetime, start: datetime, whole: timedelta) -> float:
    return round(WIDTH * ((at - start) / whole), 1)
