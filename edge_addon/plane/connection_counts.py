"""The number of client connections over all workers, in total, by address and by worker: counts in shared memory.

The supervisor creates the memory before it forks and gives each worker a row that only this worker writes. A query
sums a column, so no lock is needed. Addresses are hashed: a client's count is the lower sum of its two buckets (a
count-min sketch, Cormode and Muthukrishnan 2005), never too low, and too high only when others share both buckets.
Workers that count at the same moment may each admit one connection above the limit.
"""

from __future__ import annotations

import mmap
import socket
from itertools import compress

ROWS = 320
"""Workers at once, including those that drain; any further worker counts only its own connections."""
BUCKETS = 1 << 15
"""Per hash. With 20,000 clients connected, about 20 in 100 share both buckets with others."""

_CELL = 4
_IN_ALL = 2 * BUCKETS
_ACCEPTS = _IN_ALL + 1
_ROW = _IN_ALL + mmap.PAGESIZE // _CELL
"""Cells of a row, in whole pages, so that workers on different processors don't write to the same page."""
_V4_MAPPED = bytes(10) + b"\xff\xff"


Buckets = tuple[int, int]
"""The two cells of a row that count a client or a network."""


def client_key(host: str) -> str | bytes:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address (RFC 6177 §2)."""
    packed = _packed_v6(host)
    if packed is None:
        return host
    return packed if packed.startswith(_V4_MAPPED) else packed[:8]


def network_key(host: str) -> bytes | None:
    """The /48 network of an IPv6 address, which providers give to one customer (RFC 6177 §2); None for IPv4."""
    packed = _packed_v6(host)
    return None if packed is None or packed.startswith(_V4_MAPPED) else packed[:6]


def _packed_v6(host: str) -> bytes | None:
    if ":" not in host:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return None


class ConnectionCounts:
    """The shared memory and its rows. Only the process that created it allocates and frees rows."""

    def __init__(self, rows: int = ROWS) -> None:
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        # The first page holds the number of rows in use. Pages that were never written take no memory.
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + rows * _ROW * _CELL, flags=flags)
        self._free = set(range(rows))
        self._taken: set[int] = set()

    def allocate(self) -> Tally:
        """A row for a new worker."""
        if not self._free:
            return ConnectionCounts(1).allocate()
        row = min(self._free)
        self._free.remove(row)
        self._taken.add(row)
        self._note_rows()
        return Tally(self, row, memoryview(self._memory).cast("I"))

    def free(self, tally: Tally) -> None:
        """Clear the row of a worker that has ended: its connections are closed."""
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
    """One worker's row, and its view of all rows."""

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

    def add_to(self, buckets: Buckets) -> int:
        """Count one connection of this client or network; returns how many it now has over all workers."""
        first, second = buckets
        self._rows[self._own + first] += 1
        self._rows[self._own + second] += 1
        return min(self._sum(first), self._sum(second))

    def remove_from(self, buckets: Buckets) -> None:
        for bucket in buckets:
            self._rows[self._own + bucket] -= 1

    @property
    def accepts(self) -> bool:
        """Whether this worker accepts connections; set by the worker."""
        return bool(self._rows[self._own + _ACCEPTS])

    @accepts.setter
    def accepts(self, value: bool) -> None:
        self._rows[self._own + _ACCEPTS] = value

    def surplus(self) -> int:
        """How many more connections this worker has than the accepting worker with the fewest, perhaps itself."""
        counts = compress(self._column(_IN_ALL), self._column(_ACCEPTS))
        own = self._rows[self._own + _IN_ALL]
        return own - min(counts, default=own)

    def _sum(self, column: int) -> int:
        return sum(self._column(column))

    def _column(self, column: int) -> memoryview:
        return self._rows[column : self._cells[0] * _ROW : _ROW]


def buckets_of(key: str | bytes) -> Buckets:
    """Where this client or network is counted."""
    # Keyed by the interpreter, with one key in all forks: nobody outside can compute addresses that share a bucket.
    hashed = hash(key)
    return hashed % BUCKETS, BUCKETS + (hashed >> 32) % BUCKETS
