"""A fuzzer: what must hold of any input, and what inputs look like."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises for an input that shows a fault. Inputs are made from `seeds` and `words`."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    longest: int = 400


def words(text: str) -> tuple[bytes, ...]:
    """Words of a grammar from a line of text."""
    return tuple(text.encode("latin-1").split())


def pieces(data: bytes) -> list[bytes]:
    """The data cut at up to two places, which depend only on the data."""
    number = zlib.crc32(data)
    first, second = sorted((number % (len(data) + 1), (number >> 16) % (len(data) + 1)))
    return [piece for piece in (data[:first], data[first:second], data[second:]) if piece]
