"""Writes a run's figures into the bench's README page, and the chart beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.chart import draw
from tests.bench.figures import Results
from tests.bench.report import Circumstances, as_markdown

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- figures: written by `tests/bench/run --update-page` -->", "<!-- end of figures -->"


def update(
    results: Results, circumstances: Circumstances, peers: Sequence[str], caption: str, *, folder: Path = FOLDER
) -> None:
    """Replace the text between the two marks; raises ValueError if they are missing."""
    path = folder / "README.md"
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"{path} has lost the marks between which the figures stand")
    figures = as_markdown(results, circumstances, peers)
    path.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}", encoding="utf-8")
    (folder / "chart.svg").write_text(draw(results, peers, caption), encoding="utf-8")
