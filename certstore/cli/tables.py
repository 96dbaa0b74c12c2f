"""Fits a table to the width of a terminal: which columns give way, which texts wrap. Pure: no terminal, no colours.

No word is ever broken, so that a host name, a date or a path can be read and copied. A text that is wider than its
column is shown in full, and the rest of its row continues on the next line, each text below its header. (`rich.table`
breaks or cuts such a text, and has no columns that give way.)
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_GAP = 2
_READABLE = 20
"""The least width of a column that wraps, while another column can give way."""

_LONG_WORD = 48
"""Such a column is at least as wide as its longest word, up to this: a host name fits, a long URL may not."""

_NAMES_SHARE = 0.4
"""The share of the terminal that one column of unwrapped texts can claim: one long name must not cost all rows a
date."""

_NAME = 12
"""The least width of such a column once nothing else can give way."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The text of one field; `short`, if there is one, is shown once its column has given way."""

    text: str
    short: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """One line of a field: its column, and where it starts in its line, in characters."""

    column: int
    offset: int
    text: str


Line = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns shown, each with its width in characters, and the lines of each row."""

    columns: tuple[tuple[int, int], ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, slots=True)
class _Column:
    index: int
    least: int
    natural: int
    wraps: bool


def fit(
    headers: Sequence[str],
    rows: Sequence[Sequence[Entry]],
    width: int,
    *,
    gives_way: Sequence[str] = (),
    wraps: Sequence[str] = (),
) -> Table:
    """`gives_way` lists columns in the order in which they give way: a column with short texts shows those, another one
    is dropped. A column that is listed twice is first shortened, then dropped. The texts of `wraps` may wrap.
    """

    def are_too_few(steps: Sequence[str]) -> bool:
        columns, _ = _shown(headers, rows, steps, wraps, width)
        return sum(column.least for column in columns) + _GAP * (len(columns) - 1) > width

    given = 0
    while given < len(gives_way) and are_too_few(gives_way[:given]):
        given += 1
    steps = list(gives_way[:given])
    for step in reversed(range(len(steps) - 1)):  # dropping a later column may have made room for an earlier one
        fewer = steps[:step] + steps[step + 1 :]
        if steps.count(steps[step]) == 1 and not are_too_few(fewer):
            steps = fewer
    columns, texts = _shown(headers, rows, steps, wraps, width)
    widths = _widths(columns, width)
    placed = tuple(tuple(_lines(columns, widths, row, width)) for row in texts)
    return Table(tuple((column.index, each) for column, each in zip(columns, widths, strict=True)), placed)


def _shown(
    headers: Sequence[str], rows: Sequence[Sequence[Entry]], given: Sequence[str], wraps: Sequence[str], width: int
) -> tuple[list[_Column], list[list[str]]]:
    """The columns that remain after these steps, and every row's texts in them."""
    columns, texts = list[_Column](), [list[str]() for _ in rows]
    for index, header in enumerate(headers):
        steps = given.count(header)
        has_short = any(row[index].short for row in rows)
        if steps > has_short:
            continue
        values = [(row[index].short or row[index].text) if steps else row[index].text for row in rows]
        natural = max((len(text) for text in (header, *values)), default=0)
        least = min(natural, max(len(header), int(width * _NAMES_SHARE)))
        if header in wraps:
            longest = max((len(word) for text in values for word in text.split()), default=0)
            least = min(natural, max(len(header), _READABLE, min(longest, _LONG_WORD)))
        columns.append(_Column(index, least, natural, header in wraps))
        for line, value in zip(texts, values, strict=True):
            line.append(value)
    return columns, texts


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Each column's least width; spare room goes to columns that can use it, missing room is taken from the widest."""
    widths = [column.least for column in columns]
    room = width - sum(widths) - _GAP * (len(columns) - 1)
    for position, column in enumerate(columns):
        more = max(0, min(room, column.natural - widths[position]))
        widths[position] += more
        room -= more
    while room < 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NAME:
            break
        # Down to the next widest at most, so that two long names share the room.
        others = [each for each in widths if each < widths[widest]]
        cut = min(-room, widths[widest] - max([_NAME, *others]))
        widths[widest] -= max(1, cut)
        room += max(1, cut)
    return widths


def _lines(columns: Sequence[_Column], widths: Sequence[int], texts: Sequence[str], width: int) -> Iterator[Line]:
    lines: list[list[Piece]] = [[]]
    ends = [-_GAP]
    first = offset = 0
    for column, own, text in zip(columns, widths, texts, strict=True):
        line = first
        for part in _wrapped(text, own) if column.wraps else [text] if text else []:
            # A text that would stick out of the terminal starts further left, on the next free line.
            begin = min(offset, max(0, width - len(part)))
            while line < len(lines) and ends[line] + _GAP > begin:
                line += 1
            if line == len(lines):
                lines.append([])
                ends.append(-_GAP)
            lines[line].append(Piece(column.index, begin, part))
            ends[line] = begin + len(part)
            if len(part) > own:
                first = line + 1
            line += 1
        offset += own + _GAP
    yield from (tuple(line) for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
