"""The results of a run as text tables, as JSON and as a block for the README page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.figures import (
    EDGE,
    IDLE,
    LINE_DELAYS,
    LINES,
    PER_OPERATION,
    PER_STORE,
    SPEEDUP_HANDSHAKE,
    SPEEDUP_KEEP_ALIVE,
    Figure,
    Found,
    Results,
    Verdict,
    spread,
    verdicts,
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and when; `versions` of what was measured, and what is `missing`."""

    date: str
    size: str
    machine: str
    load_average: float
    versions: dict[str, str]
    missing: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the first of each row its title."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Results, peers: Sequence[str]) -> list[Table]:
    """Tables for operations, long lines, memory, workers, and each size of store. Empty ones are left out."""
    idle = [figure for key, figure in results.figures.items() if key.startswith(f"{IDLE.key}@")]
    lines = [figure.over_line(delay) for figure in LINES for delay in LINE_DELAYS]
    sizes = sorted({int(key.partition("@")[2]) for key in results.figures if key.partition("@")[0] in _STORE_KEYS})
    made = [
        _table("CPU time per operation, one worker each", results, peers, PER_OPERATION),
        _table("One large body, by the round trip of the line", results, peers, lines),
        _table("Idle connections", results, peers, idle, sized=True),
        _table("A second worker", results, (EDGE, "nginx"), (SPEEDUP_HANDSHAKE, SPEEDUP_KEEP_ALIVE)),
        *(
            _table(f"{size:,} site{'s' * (size > 1)}", results, peers, [figure.at(size) for figure in PER_STORE])
            for size in sizes
        ),
    ]
    return [table for table in made if table.rows]


_STORE_KEYS = {figure.key for figure in PER_STORE}


def _table(
    title: str, results: Results, peers: Sequence[str], figures: Sequence[Figure], *, sized: bool = False
) -> Table:
    present = [figure for figure in figures if figure.key in results.figures]
    shown = [peer for peer in peers if any((figure.key, peer) in results.cells for figure in present)]
    rows = []
    for figure in present:
        unit = f" ({figure.unit})" if figure.unit else ""
        count = f", {int(figure.key.partition('@')[2]):,} open" if sized else ""
        rows.append((f"{figure.title}{count}{unit}", *(cell(figure, results.found(figure, peer)) for peer in shown)))
    return Table(title, ("", *shown), tuple(rows))


def cell(figure: Figure, found: Found) -> str:
    """The median, how far the rounds lie apart, and the note."""
    if found.median is None:
        return found.note or "–"
    text = f"{found.median:,.{figure.digits}f}"
    if len(found.values) > 1:
        text += f" ±{100 * spread(found.values):.0f}%"
    return f"{text} ({found.note})" if found.note else text


def verdict_table(found: Sequence[Verdict]) -> Table:
    marks = {True: "reached", False: "MISSED", None: "–"}
    rows = tuple((each.title, each.reach, each.found, marks[each.is_met]) for each in found)
    return Table("Targets", ("", "target", "measured", ""), rows)


def as_text(results: Results, circumstances: Circumstances, peers: Sequence[str]) -> str:
    """For a terminal."""
    parts = [_circumstances(circumstances)]
    for table in (*tables(results, peers), verdict_table(verdicts(results))):
        widths = [max(len(row[column]) for row in (table.head, *table.rows)) for column in range(len(table.head))]
        lines = [_aligned(row, widths) for row in (table.head, *table.rows)]
        parts.append("\n".join((table.title, *lines)))
    return "\n\n".join(parts) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
    return "  ".join((row[0].ljust(len(first)), *others)).rstrip()


def as_markdown(results: Results, circumstances: Circumstances, peers: Sequence[str]) -> str:
    """For the README page."""
    parts = [_circumstances(circumstances)]
    for table in (verdict_table(verdicts(results)), *tables(results, peers)):
        rule = ("---", *("--:" for _ in table.head[1:]))
        lines = [f"| {' | '.join(row)} |" for row in (table.head, rule, *table.rows)]
        parts.append("\n".join((f"### {table.title}", "", *lines)))
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, circumstances: Circumstances) -> dict[str, Any]:
    """Every value of every round."""
    figures = []
    for key, figure in results.figures.items():
        cells = {
            peer: {"median": found.median, "values": list(found.values), "note": found.note}
            for (each, peer), found in results.cells.items()
            if each == key
        }
        figures.append({"key": key, "title": figure.title, "unit": figure.unit, "found": cells})
    reached = [asdict(verdict) for verdict in verdicts(results)]
    return {"circumstances": asdict(circumstances), "figures": figures, "to_reach": reached}


def _circumstances(given: Circumstances) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in given.versions.items())
    machine = f"{given.machine}; load average at the end {given.load_average:.1f}"
    text = f"{given.date}, {given.size} run on {machine}.\n{versions}."
    if given.missing:
        text += "\nNot measured: " + "; ".join(f"{name}: {why}" for name, why in given.missing.items()) + "."
    return text
