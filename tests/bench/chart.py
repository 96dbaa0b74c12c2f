"""The SVG chart: a panel per figure, a bar per server. Pure.

A bar that would dwarf the others is cut with a gap at the edge of its panel; its number is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.figures import (
    DROP,
    EDGE,
    HANDSHAKE,
    HANDSHAKE_GET,
    HTTP2,
    IDLE,
    KEEP_ALIVE,
    SITE_MEMORY,
    START,
    Figure,
    Results,
)

PANELS = (
    (HANDSHAKE, "Full TLS handshake"),
    (HANDSHAKE_GET, "Full handshake and one GET"),
    (KEEP_ALIVE, "GET on a kept connection"),
    (HTTP2, "GET over HTTP/2"),
    (IDLE.at(10_000), "Idle TLS connection, 10,000 open"),
    (START.at(10_000), "10,000 sites: start"),
    (DROP.at(10_000), "10,000 sites: replaced file to served"),
    (SITE_MEMORY.at(10_000), "10,000 sites: memory per site"),
)
COLUMNS = 2
PANEL_WIDTH, LABEL_WIDTH, NUMBER_WIDTH = 440, 112, 104
ROW, TOP, GAP = 20, 30, 18
LONGEST = 3.0
"""A bar is cut if it is more than this many times as long as the edge's."""

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}.t{font-weight:600;font-size:13px}.u{fill:#66727f}"
    ".b{fill:#b8c4d0}.e{fill:#1565c0}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e9ee}.u{fill:#9aa7b4}.b{fill:#5b6875}.e{fill:#64a8f0}}"
)


def draw(results: Results, peers: Sequence[str], caption: str) -> str:
    """The whole file."""
    panels = [(figure, title) for figure, title in PANELS if figure.key in results.figures]
    height = TOP + ROW * len(peers) + GAP
    lines = -(-len(panels) // COLUMNS)
    width, whole = COLUMNS * PANEL_WIDTH, lines * height + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}"'
        f' role="img" aria-label="{escape(caption)}"><style>{_STYLE}</style>'
    )
    parts = [head]
    for number, (figure, title) in enumerate(panels):
        x, y = number % COLUMNS * PANEL_WIDTH, number // COLUMNS * height
        parts += _panel(results, figure, title, peers, x, y)
    parts.append(f'<text class="u" x="4" y="{whole - 8}">{escape(caption)}</text></svg>\n')
    return "\n".join(parts)


def _panel(results: Results, figure: Figure, title: str, peers: Sequence[str], x: int, y: int) -> list[str]:
    medians = {peer: results.median(figure, peer) for peer in peers if (figure.key, peer) in results.cells}
    known = [value for value in medians.values() if value is not None]
    full = min(max(known, default=1.0), LONGEST * (medians.get(EDGE) or max(known, default=1.0))) or 1.0
    room = PANEL_WIDTH - LABEL_WIDTH - NUMBER_WIDTH
    head = (
        f'<text class="t" x="{x + 4}" y="{y + 18}">{escape(title)}'
        f' <tspan class="u" font-weight="400">{escape(figure.unit)}, less is better</tspan></text>'
    )
    parts = [head]
    for row, (peer, value) in enumerate(medians.items()):
        line = y + TOP + ROW * row
        parts.append(f'<text x="{x + 4}" y="{line + 12}">{escape(peer)}</text>')
        if value is None:
            note = results.found(figure, peer).note.partition(";")[0] or "–"
            parts.append(f'<text class="u" x="{x + LABEL_WIDTH}" y="{line + 12}">{escape(note)}</text>')
            continue
        length = max(1.0, min(value / full, 1.0) * room)
        kind = "e" if peer == EDGE else "b"
        bar = x + LABEL_WIDTH
        parts.append(f'<rect class="{kind}" x="{bar}" y="{line + 2}" width="{length:.1f}" height="13" rx="2"/>')
        if value > full:
            cut = bar + length - 16
            parts.append(f'<path d="M{cut} {line + 17}l5 -17m4 0l-5 17" stroke="#fff" stroke-width="2"/>')
        number = f"{value:,.{figure.digits}f}{_way(results.found(figure, peer).note)}"
        parts.append(f'<text x="{bar + length + 5:.1f}" y="{line + 12}">{number}</text>')
    return parts


def _way(note: str) -> str:
    """What a server needed before it noticed the change."""
    way = note.partition("; ")[2]
    return escape(f", {way}") if way else ""
