"""How many connections clients have, over all workers, in all, by address and by worker: counts in shared memory.

The supervisor makes the memory before it forks and gives each worker a row that only this worker writes; a question
sums a column, so nobody ever waits for anybody. Addresses are hashed: a client's count is the lowest sum of its two
buckets (a count-min sketch, Cormode and Muthukrishnan 2005), never below the truth, and above it only where others
share both buckets. Workers that count at the same moment may each admit one more than the limit.
"""

from __future__ import annotations

import mmap
import socket
from itertools import compress

ROWS = 320
"""Workers at once, those that drain included; one beyond them counts for itself."""
BUCKETS = 1 << 15
"""Of each of the two hashes. With 20,000 clients connected, some 20 of 100 are counted with somebody else's."""

_CELL = 4
_IN_ALL = 2 * BUCKETS
_ACCEPTS = _IN_ALL + 1
_ROW = _IN_ALL + mmap.PAGESIZE // _CELL
"""Cells of a row, in whole pages: workers on different processors don't write to the same ones."""
_V4_MAPPED = bytes(10) + b"\xff\xff"


def client_key(host: str) -> str | bytes:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 host has to itself (RFC 6177 §2)."""
    if ":" not in host:
        return host
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host
    return packed if packed.startswith(_V4_MAPPED) else packed[:8]


class ConnectionCounts:
    """The memory, and whose row is whose. Only the process that made it takes rows and gives them back."""

    def __init__(self, rows: int = ROWS) -> None:
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        # The first page holds how many rows are looked at. Pages that nobody has written to take no memory.
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + rows * _ROW * _CELL, flags=flags)
        self._free = set(range(rows))
        self._taken: set[int] = set()

    def allocate(self) -> Tally:
        """A row for one more worker."""
        if not self._free:
            return ConnectionCounts(1).allocate()
        row = min(self._free)
        self._free.remove(row)
        self._taken.add(row)
        self._note_rows()
        return Tally(self, row, memoryview(self._memory).cast("I"))

    def free(self, tally: Tally) -> None:
        """The row's worker is gone, however it went: what it counted is over."""
        if tally.connection_counts is not self:
            return
        start = mmap.PAGESIZE + tally.row * _ROW * _CELL
        self._memory[start : start + _ROW * _CELL] = bytes(_ROW * _CELL)
        self._taken.remove(tally.row)
        self._free.add(tally.row)
        self._note_rows()

    def _note_rows(self) -> None:
        memoryview(self._memory).cast("I")[0] = max(self._taken, default=-1) + 1


class Tally:
    """One worker's row, and its view of all."""

    def __init__(self, connection_counts: ConnectionCounts, row: int, cells: memoryview) -> None:
        self.connection_counts = connection_counts
        self.row = row
        self._cells = cells
        self._rows = cells[mmap.PAGESIZE // _CELL :]
        self._own = row * _ROW

    def add(self) -> int:
        """Count a connection; returns how many there now are over all workers."""
        self._rows[self._own + _IN_ALL] += 1
        return self._sum(_IN_ALL)

    def remove(self) -> None:
        self._rows[self._own + _IN_ALL] -= 1

    def add_address(self, host: str) -> int:
        """Count one connection from this IP address; returns how many it now has over all workers."""
        first, second = _buckets(host)
        self._rows[self._own + first] += 1
        self._rows[self._own + second] += 1
        return min(self._sum(first), self._sum(second))

    def remove_address(self, host: str) -> None:
        for bucket in _buckets(host):
            self._rows[self._own + bucket] -= 1

    @property
    def accepts(self) -> bool:
        """Whether this worker takes new connections; it says so itself."""
        return bool(self._rows[self._own + _ACCEPTS])

    @accepts.setter
    def accepts(self, value: bool) -> None:
        self._rows[self._own + _ACCEPTS] = value

    def surplus(self) -> int:
        """How many connections this worker has more than the accepting one that has fewest, which may be itself."""
        counts = compress(self._column(_IN_ALL), self._column(_ACCEPTS))
        own = self._rows[self._own + _IN_ALL]
        return own - min(counts, default=own)

    def _sum(self, column: int) -> int:
        return sum(self._column(column))

    def _column(self, column: int) -> memoryview:
        return self._rows[column : self._cells[0] * _ROW : _ROW]


def _buckets(host: str) -> tuple[int, int]:
    # Keyed by the interpreter, alike in all forks: nobody outside can look for addresses that meet in a bucket.
    hashed = hash(client_key(host))
    return hashed % BUCKETS, BUCKETS + (hashed >> 32) % BUCKETS
