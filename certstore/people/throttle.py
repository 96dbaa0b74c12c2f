"""Counts failed sign-ins by name and by address, in memory and bounded; `model.console.sign_in` decides the waits."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from datetime import timedelta

from certstore.files.clock import Clock
from certstore.model.console.sign_in import LONGEST_BY_ADDRESS, LONGEST_BY_NAME, Failures, after_failure, open_at

_REMEMBERED = 10_000


class Throttle:
    """Used from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._failures: OrderedDict[str, Failures] = OrderedDict()

    def wait(self, name: str, address: str) -> timedelta | None:
        """How long the next attempt must wait; None if it need not."""
        now = self._clock()
        with self._lock:
            by_name = open_at(self._failures.get(f"name {name}"), now, LONGEST_BY_NAME)
            by_address = open_at(self._failures.get(_key(address)), now, LONGEST_BY_ADDRESS)
        until = max((each for each in (by_name, by_address) if each is not None), default=None)
        return until - now if until is not None else None

    def failed(self, name: str, address: str) -> None:
        now = self._clock()
        with self._lock:
            for key in (f"name {name}", _key(address)):
                self._failures[key] = after_failure(self._failures.pop(key, None), now)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        with self._lock:
            self._failures.pop(f"name {name}", None)
            self._failures.pop(_key(address), None)


def _key(address: str) -> str:
    """One key for a whole /64 of IPv6: a client has all of it to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if parsed.version == 6:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {parsed}"
