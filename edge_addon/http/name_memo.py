"""What is worked out once for each header name, as it was spelled. Pure.

A memo of a pure function, bounded in number and length, that holds names only: an ordinary head costs one dictionary
look-up per line, and a client can't fill the memory with names that it makes up.
"""

from __future__ import annotations

MOST_NAMES = 4096
LONGEST_NAME = 64


class NameMemo[Value](dict[bytes, Value]):
    """`memo[name]` is `work_out(name)`, which may raise."""

    __slots__ = ()

    def work_out(self, name: bytes) -> Value:
        raise NotImplementedError

    def __missing__(self, name: bytes) -> Value:
        value = self.work_out(name)
        if len(self) < MOST_NAMES and len(name) <= LONGEST_NAME:
            self[name] = value
        return value
