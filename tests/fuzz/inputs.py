"""Makes inputs from seeds and words. The same seed makes the same inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fuzz.target import Target

_INTERESTING = [bytes((each,)) for each in (0, 1, 9, 10, 13, 32, 34, 58, 92, 127, 128, 255)]


class Inputs(Iterator[bytes]):
    """Endless; `seed` fixes them."""

    def __init__(self, target: Target, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = target.seeds or (b"",)
        self._words = (*target.words, *_INTERESTING)
        self._longest = target.longest

    def __next__(self) -> bytes:
        draw = self._random
        kind = draw.random()
        if kind < 0.15:
            data = bytearray().join(draw.choices(self._words, k=draw.randrange(1, 12)))
        elif kind < 0.3:
            first, second = draw.choice(self._seeds), draw.choice(self._seeds)
            data = bytearray(first[: draw.randrange(len(first) + 1)] + second[draw.randrange(len(second) + 1) :])
        elif kind < 0.32:
            data = bytearray(draw.randbytes(draw.randrange(40)))
        else:
            data = bytearray(draw.choice(self._seeds))
        for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            self._change(data)
        return bytes(data[: self._longest])

    def _change(self, data: bytearray) -> None:
        draw = self._random
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind <= 1:
            data[at:at] = draw.choice(self._words)
        elif kind == 2:
            data[at : at + 1] = bytes((draw.randrange(256),))
        elif kind == 3:
            data[at : at + draw.randrange(1, 9)] = b""
        elif kind == 4:
            data[at : at + draw.randrange(1, 9)] = draw.choice(self._words)
        elif kind == 5:
            data[at:at] = data[max(at - draw.randrange(1, 40), 0) : at]
        elif at < len(data):
            data[at] ^= 1 << draw.randrange(8)
