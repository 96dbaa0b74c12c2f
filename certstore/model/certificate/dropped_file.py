"""A file as it was dropped or uploaded. Imports nothing, because every command of the command line imports it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """`name` is only for messages."""

    name: str
    content: bytes = field(repr=False)
