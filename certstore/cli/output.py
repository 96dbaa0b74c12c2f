"""How output looks: tables with colours on a terminal, aligned plain text in a pipe, JSON with --json.

Knows values, not sites or certificates. On a terminal rich draws; in a pipe it is not even imported.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certstore.cli.failure import printable


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, and a style for terminals. `short` is what a narrow terminal may show instead."""

    text: str
    style: str = ""
    short: str = ""


GOOD, WARNING, BAD, QUIET, STRONG = "green", "yellow", "bold red", "dim", "bold"


def print_json(facts: Mapping[str, Any]) -> None:
    """In ASCII: valid in any locale, whatever bytes an argument had, and without control characters."""
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def print_lines(*lines: str | Cell) -> None:
    cells = [line if isinstance(line, Cell) else Cell(line) for line in lines]
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{printable(cell.text)}\n" for cell in cells))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for cell in cells:
        console.print(Text(printable(cell.text), style=cell.style), soft_wrap=True)


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    gives_way: Sequence[str] = (),
    wraps: Sequence[str] = (),
) -> None:
    """In a pipe one line per row, headers included, columns two spaces apart: easy to read and to parse with awk.

    On a narrow terminal columns give way and texts wrap, as described in `certstore.cli.tables`.
    """
    cells = [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(headers, cells, gives_way, wraps)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in aligned(headers, cells)))


def aligned(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Plain lines; an empty cell is shown as `-`, so that columns can be counted."""
    lines = [list(headers), *([printable(cell.text) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def print_facts(pairs: Iterable[tuple[str, str | Cell]]) -> None:
    """`name: value` lines, the values in one column; empty values are left out. On a terminal long ones wrap."""
    cells = [(name, value if isinstance(value, Cell) else Cell(value)) for name, value in pairs]
    cells = [(name, value) for name, value in cells if value.text]
    width = max((len(name) for name, _ in cells), default=0) + 1
    lines = []
    for name, value in cells:
        first, *others = _wrapped(value.text, width + 2)
        lines.append(Cell(f"{name + ':':<{width}}  {first}", value.style))
        lines += [Cell(" " * (width + 2) + other, value.style) for other in others]
    print_lines(*lines)


def _wrapped(text: str, offset: int) -> list[str]:
    """On a terminal only, and between words."""
    if not sys.stdout.isatty():
        return [text]
    from rich.console import Console

    room = max(1, Console().width - offset)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [text]


def _print_fitted(
    headers: Sequence[str], rows: Sequence[Sequence[Cell]], gives_way: Sequence[str], wraps: Sequence[str]
) -> None:
    from rich.console import Console
    from rich.text import Text

    from certstore.cli.tables import Entry, fit

    console = Console(highlight=False)
    entries = [[Entry(printable(cell.text), printable(cell.short)) for cell in row] for row in rows]
    table = fit(headers, entries, console.width, gives_way=gives_way, wraps=wraps)
    title = Text("  ".join(f"{headers[column]:<{width}}" for column, width in table.columns), style=STRONG)
    title.rstrip()
    console.print(title, soft_wrap=True)
    console.print(Text("  ".join("─" * width for _, width in table.columns), style=QUIET), soft_wrap=True)
    for row, lines in zip(rows, table.rows, strict=True):
        for pieces in lines:
            text = Text()
            for piece in pieces:
                text.append(" " * (piece.offset - len(text)))
                text.append(piece.text, style=row[piece.column].style)
            console.print(text, soft_wrap=True)


def utc(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def remaining(not_after: datetime, now: datetime) -> str:
    """The time until an instant, in the one unit that matters."""
    left = not_after - now
    if left <= timedelta(0):
        return "expired"
    if left >= timedelta(days=2):
        return f"{left.days} days"
    hours = left // timedelta(hours=1)
    return f"{hours} hours" if hours >= 2 else f"{left // timedelta(minutes=1)} minutes"


def short(fingerprint: str | None) -> str:
    """Enough of a fingerprint to tell certificates apart."""
    return fingerprint[:16] if fingerprint else ""
