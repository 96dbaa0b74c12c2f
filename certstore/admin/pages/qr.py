"""A QR code as the geometry of an SVG; the template draws it with attributes alone, as the policy forbids styles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import segno

QUIET = 4
"""Modules of empty margin that readers need on each side (ISO/IEC 18004)."""


@dataclass(frozen=True, slots=True)
class QrCode:
    """A square of `side` units, margins included; `path` covers the dark modules, one unit each."""

    side: int
    path: str


def qr_code(text: str) -> QrCode:
    """Raises ValueError for a text that no QR code can hold (about 2,300 bytes)."""
    code = segno.make(text, error="m", micro=False)
    rows = list(code.matrix_iter(border=QUIET))
    return QrCode(len(rows), "".join(_runs(rows)))


def _runs(rows: Iterable[Iterable[int]]) -> Iterator[str]:
    """Neighbours in a row are one rectangle: a few hundred in place of a thousand."""
    for y, row in enumerate(rows):
        x = 0
        for is_dark, modules in groupby(row, bool):
            width = len(list(modules))
            if is_dark:
                yield f"M{x} {y}h{width}v1h-{width}z"
            x += width
