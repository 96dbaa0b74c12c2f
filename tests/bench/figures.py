"""The figures of the benchmark, the values found for them, and how these compare with what the edge must reach.

Pure: numbers in, verdicts out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

EDGE = "certedge"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. Less is better, except for counts (`is_count`)."""

    key: str
    title: str
    unit: str
    digits: int = 0
    is_count: bool = False

    def at(self, size: int) -> Figure:
        """The same figure with this many sites."""
        return Figure(f"{self.key}@{size}", self.title, self.unit, self.digits, self.is_count)

    def over_line(self, delay: int) -> Figure:
        """The same figure with a round trip of so many milliseconds."""
        return Figure(f"{self.key}@{delay}ms", f"{self.title}, {delay} ms", self.unit, self.digits, self.is_count)


HANDSHAKE = Figure("handshake", "full handshake", "µs CPU")
HANDSHAKE_GET = Figure("handshake_get", "full handshake and one GET", "µs CPU")
RESUMED = Figure("resumed", "resumed handshake, TLS 1.2", "µs CPU")
RESUMED_GET = Figure("resumed_get", "resumed handshake and one GET, TLS 1.3", "µs CPU")
KEEP_ALIVE = Figure("keep_alive", "GET on a kept connection", "µs CPU")
HTTP2 = Figure("http2", "GET over HTTP/2", "µs CPU")
MEGABYTE = Figure("megabyte", "body of 1 MB", "µs CPU")
LARGE = Figure("large", "body of 100 MB", "ms CPU", 1)
LINE_MEGABYTES = 60
LINE_DELAYS = (20, 60, 150)
"""Round trips in milliseconds."""
LINE_UPLOAD = Figure("line_upload", f"upload of {LINE_MEGABYTES} MB over HTTP/2", "s", 2)
LINE_DOWNLOAD = Figure("line_download", f"download of {LINE_MEGABYTES} MB over HTTP/2", "s", 2)
LINE_EAGER = Figure("line_eager", "the same, each frame acknowledged at once as by Go's client", "s", 2)
LINES = (LINE_UPLOAD, LINE_DOWNLOAD, LINE_EAGER)
PER_OPERATION = (HANDSHAKE, HANDSHAKE_GET, RESUMED, RESUMED_GET, KEEP_ALIVE, HTTP2, MEGABYTE, LARGE)

IDLE = Figure("idle", "memory per idle TLS connection", "KB", 1)
"""`at` is a number of connections here."""
SPEEDUP_HANDSHAKE = Figure("speedup_handshake", "full handshakes with 2 workers instead of 1", "×", 2, is_count=True)
SPEEDUP_KEEP_ALIVE = Figure("speedup_keep_alive", "GETs with 2 workers instead of 1", "×", 2, is_count=True)

START = Figure("start", "start to the first right certificate", "s", 2)
START_CPU = Figure("start_cpu", "CPU time until then", "s", 2)
SITE_MEMORY = Figure("site_memory", "memory per loaded site, whole service", "KB", 1)
SITE_MEMORY_WORKER = Figure("site_memory_worker", "memory per loaded site, the worker alone", "KB", 1)
RANDOM_NAMES = Figure("random_names", "full handshake with a random site's name", "µs CPU")
DROP = Figure("drop", "replaced file to served", "s", 3)
LOST = Figure("lost", "open connections that the replacement ended, of 200", "", 0)
PER_STORE = (START, START_CPU, SITE_MEMORY, SITE_MEMORY_WORKER, RANDOM_NAMES, DROP, LOST)


@dataclass(frozen=True, slots=True)
class Found:
    """One cell: the values of all rounds, or the reason why there are none, or both (`note`)."""

    values: tuple[float, ...] = ()
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


@dataclass(slots=True)
class Results:
    """All values of one run, by figure and peer."""

    cells: dict[tuple[str, str], Found] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def add(self, figure: Figure, peer: str, value: float) -> None:
        self.figures.setdefault(figure.key, figure)
        found = self.found(figure, peer)
        self.cells[figure.key, peer] = Found((*found.values, value), found.note)

    def note(self, figure: Figure, peer: str, text: str) -> None:
        """Why there is no value, or how it was measured."""
        self.figures.setdefault(figure.key, figure)
        self.cells[figure.key, peer] = Found(self.found(figure, peer).values, text)

    def found(self, figure: Figure, peer: str) -> Found:
        return self.cells.get((figure.key, peer), Found())

    def median(self, figure: Figure, peer: str) -> float | None:
        return self.found(figure, peer).median

    def ratio(self, figure: Figure, peer: str, other: str) -> float | None:
        """How many times `other`'s value: the median over the rounds, because a disturbance affects both in a round."""
        ours, theirs = self.found(figure, peer).values, self.found(figure, other).values
        if not ours or not theirs:
            return None
        if len(ours) != len(theirs):
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(one / two for one, two in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Verdict:
    """One requirement on the edge."""

    title: str
    reach: str
    found: str
    is_met: bool | None
    """None: not measured in this run."""


def _ratio_at_most(figure: Figure, peer: str, limit: float) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        ratio = results.ratio(figure, EDGE, peer)
        found = "not measured" if ratio is None else f"{ratio:.2f} ×"
        return Verdict(figure.title, f"≤ {limit:g} × {peer}", found, None if ratio is None else ratio <= limit)

    return judge


def _times_better(figure: Figure, peer: str, limit: float) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        ratio = results.ratio(figure, peer, EDGE)
        found = "not measured" if ratio is None else f"{ratio:.1f} ×"
        title = f"{figure.title}, per CPU second"
        return Verdict(title, f"≥ {limit:g} × {peer}", found, None if ratio is None else ratio >= limit)

    return judge


def _at_most(figure: Figure, limit: float, title: str) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        median = results.median(figure, EDGE)
        found = "not measured" if median is None else f"{median:.{figure.digits}f} {figure.unit}".strip()
        reach = f"≤ {limit:g} {figure.unit}".strip() if limit else "0"
        return Verdict(title, reach, found, None if median is None else median <= limit)

    return judge


def _at_least(figure: Figure, limit: float) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        median = results.median(figure, EDGE)
        found = "not measured" if median is None else f"{median:.2f} {figure.unit}"
        return Verdict(figure.title, f"≥ {limit:g} {figure.unit}", found, None if median is None else median >= limit)

    return judge


_JUDGES: tuple[Callable[[Results], Verdict], ...] = (
    *(
        _ratio_at_most(figure, peer, 1.2)
        for figure in (HANDSHAKE, HANDSHAKE_GET)
        for peer in ("nginx", "Caddy")
    ),
    _ratio_at_most(KEEP_ALIVE, "Caddy", 1.2),
    _times_better(HTTP2, "mitmdump", 15),
    _at_most(IDLE.at(10_000), 25, "memory per idle TLS connection, 10,000 held open"),
    _at_most(START.at(10_000), 2.4, "10,000 sites: start to the first right certificate"),
    _at_most(START.at(50_000), 8, "50,000 sites: start to the first right certificate"),
    _at_most(DROP.at(10_000), 0.2, "10,000 sites: replaced file to served"),
    _at_most(LOST.at(10_000), 0, "10,000 sites: open connections that a replacement ended"),
    _at_most(SITE_MEMORY_WORKER.at(10_000), 6, "10,000 sites: memory per loaded site, one worker"),
    _at_least(SPEEDUP_HANDSHAKE, 1.8),
    _at_least(SPEEDUP_KEEP_ALIVE, 1.8),
)  # fmt: skip


def verdicts(results: Results) -> list[Verdict]:
    """Compares what the edge must reach with what was found."""
    return [judge(results) for judge in _JUDGES]


def spread(values: Iterable[float]) -> float:
    """Half the distance between the extremes, as a part of the median."""
    ordered = sorted(values)
    middle = statistics.median(ordered)
    return (ordered[-1] - ordered[0]) / 2 / middle if middle else 0.0
