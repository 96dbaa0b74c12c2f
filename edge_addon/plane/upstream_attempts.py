"""How the last connection to each mail server went, as far as this worker knows.

A server is known only by what clients ask of it, so a failure counts for a few minutes: nobody may have tried since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

RECENT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """`at` is on the clock of the loop; `reason` is empty where the connection came about."""

    server: str
    at: float
    reason: str


class UpstreamAttempts:
    """Bounded by the number of servers in the settings."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._last: dict[str, Attempt] = {}

    def failed(self, server: str, reason: str) -> None:
        self._last[server] = Attempt(server, self._time(), reason)

    def works(self, server: str) -> None:
        self._last[server] = Attempt(server, self._time(), "")

    def recent(self) -> Iterator[Attempt]:
        now = self._time()
        return (each for each in self._last.values() if now - each.at < RECENT_SECONDS)
