"""A file that came in: a name and bytes, before anything is known about them. Light: the command line imports it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """`name` is only for messages."""

    name: str
    content: bytes = field(repr=False)
