"""How many upstream connections a worker may have, and the short lines of requests that wait for one.

A client's address, a pool and the worker's open files each have a bound. A request above one waits in the line of its
address or its pool for a moment and is then answered with 503, so no client takes the connections of all others. A
client connection has a bound of its own: the streams of HTTP/2.
"""

from __future__ import annotations

import asyncio
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from certstore.model.settings.models import Limits

LINE_LENGTH: Final = 100
"""Requests that wait in one line; a further one is answered at once."""
LINE_SECONDS: Final = 5.0


UPLOADS: Final = 64 * 1024 * 1024
"""What a worker lends to uploads beyond the window that each connection has: 16 at full speed over long lines."""
UPLOADS_PER_ADDRESS: Final = 16 * 1024 * 1024


class Exceeded(StrEnum):
    """The bound that is reached, as counters and the access log name it."""

    ADDRESS = "upstream_connections_per_address_exceeded"
    POOL = "upstream_connections_exceeded"
    FILES = "upstream_out_of_files"


class Cancellable(Protocol):
    """Something that is waited for."""

    def cancel(self) -> object:
        """End the wait without a call."""


class Waiting(Protocol):
    """A request in a line."""

    def try_again(self) -> bool:
        """Leave the line if there is room; False: the line still waits."""


Line = dict[Waiting, None]
"""In the order of arrival."""


def serve(line: Line) -> None:
    """Let the first requests go on, as long as there is room."""
    while line and next(iter(line)).try_again():
        pass


class IdleHolder(Protocol):
    """A pool, as far as it keeps idle connections."""

    def oldest_idle(self) -> float | None:
        """Since when its oldest idle connection has been idle; None without one."""

    def close_an_idle(self) -> None:
        """Close that connection."""


@dataclass(slots=True, eq=False, repr=False)
class Share:
    """Bytes that are lent to uploads, `most` of them at a time. `cause` is counted when they do not suffice."""

    most: int
    cause: str
    lent: int = 0


@dataclass(slots=True, eq=False, repr=False)
class AddressUsage:
    """What the clients of one address have in use, over all pools of the worker."""

    active: int = 0
    waiting: Line = field(default_factory=dict)
    uploads: Share = field(default_factory=lambda: Share(UPLOADS_PER_ADDRESS, "upload_memory_per_address_exceeded"))


@dataclass(slots=True, eq=False, repr=False)
class Bounds:
    """The bounds of one worker and what they count over all its pools. `files`: open files, as many as it may have."""

    per_address: int
    per_pool: int
    files: int
    _: KW_ONLY
    clients: int = 0
    """Files that clients and the mail servers behind them take."""
    open: int = 0
    """Connections to web servers: idle, in use, or being made."""
    holders: list[IdleHolder] = field(default_factory=list)
    waiting: Line = field(default_factory=dict)
    """Requests to any pool that wait for a file."""
    uploads: Share = field(default_factory=lambda: Share(UPLOADS, "upload_memory_exceeded"))

    @classmethod
    def of(cls, limits: Limits, files: int) -> Bounds:
        per_address = limits.upstream_connections_per_address or limits.connections_per_address
        return cls(per_address, limits.upstream_connections, files)

    @property
    def for_clients(self) -> int:
        """Files that clients may take. A quarter is left, so that idle clients don't keep others from the servers."""
        return self.files - self.files // 4

    def make_room_for_clients(self) -> bool:
        """Close idle connections to web servers where clients need their files; False if there still are too few."""
        if self.clients > self.for_clients:
            return False
        for _ in range(self.clients + self.open - self.files):
            if not self.has_idle:
                return False
            self.close_an_idle()  # it counts until it is closed, at the end of this turn of the loop
        return True

    @property
    def has_files(self) -> bool:
        """Whether one more connection may be made. Half of the files are for clients."""
        return self.open < self.files // 2 and self.clients + self.open < self.files

    @property
    def has_idle(self) -> bool:
        """Whether an idle connection can give its file to another: of any pool, or one site's would keep out others."""
        return any(holder.oldest_idle() is not None for holder in self.holders)

    def close_an_idle(self) -> None:
        """Close the connection that has been idle for the longest time, if there is one."""
        idle = [(since, holder) for holder in self.holders if (since := holder.oldest_idle()) is not None]
        if idle:
            min(idle, key=lambda each: each[0])[1].close_an_idle()

    def file_freed(self) -> None:
        """Serve those who wait for a file, but not from here: a connection may be in the middle of its work."""
        if self.waiting:
            asyncio.get_running_loop().call_soon(serve, self.waiting)
