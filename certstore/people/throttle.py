"""Counts sign-ins by name and by address, in memory and bounded; `model.console.sign_in` decides the waits.

An attempt counts as failed from the moment that it is let in: of many at the same time, no more are let in than one
after another. One that succeeds is taken back.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta

from certstore.files.clock import Clock
from certstore.model.console.sign_in import LONGEST_BY_ADDRESS, LONGEST_BY_NAME, Failures, after_failure, open_at

_REMEMBERED = 30_000


class Throttle:
    """Used from several threads. `refused` counts the attempts that were not let in."""

    def __init__(self, clock: Clock) -> None:
        self.refused = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._failures: OrderedDict[str, Failures] = OrderedDict()

    def enter(self, name: str, address: str) -> timedelta | None:
        """Let an attempt in and count it, or say how long it must wait."""
        with self._lock:
            if (wait := self._wait(name, address, self._clock())) is None:
                self._count(name, address)
            else:
                self.refused += 1
            return wait

    def wait(self, name: str, address: str) -> timedelta | None:
        """How long the next attempt must wait; None if it need not."""
        with self._lock:
            return self._wait(name, address, self._clock())

    def count(self, name: str, address: str) -> None:
        """An attempt that nobody has to let in."""
        with self._lock:
            self._count(name, address)

    def take_back(self, name: str, address: str) -> None:
        """The attempt that was let in was not one to count."""
        with self._lock:
            for key in _keys(name, address):
                self._less(key, 1)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the name's failures, but of the address's only those with this name: whoever has an account must not
        guess the passwords of others without end."""
        by_name, by_address, by_both = _keys(name, address)
        with self._lock:
            self._failures.pop(by_name, None)
            if (both := self._failures.pop(by_both, None)) is not None:
                self._less(by_address, both.count)

    def _wait(self, name: str, address: str, now: datetime) -> timedelta | None:
        by_name, by_address, _ = (self._failures.get(key) for key in _keys(name, address))
        times = (open_at(by_name, now, LONGEST_BY_NAME), open_at(by_address, now, LONGEST_BY_ADDRESS))
        until = max((each for each in times if each is not None), default=None)
        return until - now if until is not None else None

    def _count(self, name: str, address: str) -> None:
        now = self._clock()
        for key in _keys(name, address):
            self._failures[key] = after_failure(self._failures.pop(key, None), now)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def _less(self, key: str, count: int) -> None:
        failures = self._failures.get(key)
        if failures is None:
            return
        if failures.count <= count:
            del self._failures[key]
        else:
            self._failures[key] = replace(failures, count=failures.count - count)


def _keys(name: str, address: str) -> tuple[str, str, str]:
    """Keys of the name, the address, and both together."""
    key = _key(address)
    return f"name {name}", key, f"{key} {name}"


def _key(address: str) -> str:
    """One key for a whole /64 of IPv6: a client has all of it to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if parsed.version == 6:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {parsed}"
