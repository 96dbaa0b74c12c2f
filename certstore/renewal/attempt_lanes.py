"""The threads on which attempts run: checks of a site's servers apart from orders, and slow orders apart from others.

The owner of a site's names decides how long its servers take to answer. A check is short and bounded, and has lanes
that no order waits for. An order for servers that were found slow, or that failed last time, has lanes that no other
order waits for. Of one tenant only a few attempts run at once, as whoever answers the check quickly can still stall the
CA: the tenant's other sites wait without a lane.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from certstore.acme.order_context import Interrupted
from certstore.files.clock import Clock
from certstore.renewal.attempt import Attempt
from certstore.renewal.order_sharing import OrderNotAllowed

logger = logging.getLogger(__name__)

CHECKS_AT_ONCE = 8
ORDERS_AT_ONCE = 4
SLOW_ORDERS_AT_ONCE = 4
ATTEMPTS_OF_A_TENANT = 2
"""Fewer than any of the lanes: no tenant can take them all."""
ATTEMPT_BOUND = timedelta(minutes=30)
"""A check and an order, each with all that it may wait for: an attempt that runs for longer hangs."""


class AttemptLanes:
    """`ended` is called with a site whenever its attempt has ended, in whatever way, or it no longer waits for its
    tenant. `slow` counts the orders that went into the lanes for slow ones."""

    def __init__(self, clock: Clock, ended: Callable[[str], None]) -> None:
        self._clock = clock
        self._ended = ended
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._tenants: dict[str, str] = {}
        """Of the sites whose attempts run in the lanes."""
        self._waiting: dict[str, dict[str, None]] = {}
        """By tenant, the sites that wait until fewer of its attempts run, in order."""
        self._since: dict[str, datetime] = {}
        self._ordering: set[str] = set()
        self._checking = 0
        self._quick = 0
        self.slow = 0
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, "check")
        self._orders = ThreadPoolExecutor(ORDERS_AT_ONCE, "order")
        self._slow_orders = ThreadPoolExecutor(SLOW_ORDERS_AT_ONCE, "slow-order")

    @property
    def has_room(self) -> bool:
        """For another check, and for the order that is likely to follow."""
        return self._checking < CHECKS_AT_ONCE and self._quick < ORDERS_AT_ONCE

    @property
    def under_way(self) -> int:
        """How many orders run now."""
        return len(self._ordering)

    @property
    def is_any_busy(self) -> bool:
        return bool(self._busy)

    def is_busy(self, site: str) -> bool:
        return site in self._busy

    def overdue(self, now: datetime) -> Mapping[str, datetime]:
        """The sites whose attempts have been running for longer than any may, and since when."""
        with self._lock:
            return {site: since for site, since in self._since.items() if now - since > ATTEMPT_BOUND}

    def start(self, site: str, attempt: Attempt, tenant: str) -> bool:
        """Nothing happens while an attempt for this site is under way: its end schedules the site again.

        False where too many of its tenant are: the end of one of them schedules it, unless it has waited in vain.
        """
        with self._lock:
            if site in self._busy:
                return True
            if sum(each == tenant for each in self._tenants.values()) >= ATTEMPTS_OF_A_TENANT:
                self._waiting.setdefault(tenant, {})[site] = None
                return False
            self._busy.add(site)
            self._tenants[site] = tenant
            self._checking += 1
        self._submit(self._checks, site, attempt.check, lambda done: self._checked(site, attempt, done))
        return True

    @contextmanager
    def held(self, site: str) -> Iterator[bool]:
        """For an attempt on the caller's own thread: False where another is under way."""
        with self._lock:
            is_free = site not in self._busy
            if is_free:
                self._busy.add(site)
                self._since[site] = self._clock()
        try:
            yield is_free
        finally:
            if is_free:
                self._finish(site)

    def submit(self, work: Callable[[], object]) -> None:
        """Something short that asks a CA."""
        self._orders.submit(work)

    def stop(self) -> None:
        """Checks end at once, orders at their next pause."""
        for lane in (self._checks, self._orders, self._slow_orders):
            lane.shutdown(wait=False, cancel_futures=True)
        for lane in (self._checks, self._orders, self._slow_orders):
            lane.shutdown(wait=True)

    def _submit(
        self, lane: ThreadPoolExecutor, site: str, work: Callable[[], Any], then: Callable[[Future[Any]], None]
    ) -> None:
        def run() -> Any:
            with self._lock:
                self._since[site] = self._clock()
            try:
                return work()
            finally:
                with self._lock:
                    self._since.pop(site, None)

        try:
            future = lane.submit(run)
        except RuntimeError:  # while stopping
            future = Future()
            future.cancel()
        future.add_done_callback(then)

    def _checked(self, site: str, attempt: Attempt, done: Future[Any]) -> None:
        with self._lock:
            self._checking -= 1
        if self._has_ended(site, done):
            self._finish(site)
            return
        is_slow = attempt.is_slow
        with self._lock:
            self._quick += not is_slow
            self.slow += is_slow

        def order() -> object:
            with self._lock:
                self._ordering.add(site)
            try:
                return attempt.order()
            finally:
                with self._lock:
                    self._ordering.discard(site)

        def ordered(done: Future[Any]) -> None:
            with self._lock:
                self._quick -= not is_slow
            self._has_ended(site, done)
            self._finish(site)

        self._submit(self._slow_orders if is_slow else self._orders, site, order, ordered)

    def _has_ended(self, site: str, done: Future[Any]) -> bool:
        """Whether nothing follows this part of the attempt."""
        if done.cancelled():
            return True
        if (error := done.exception()) is not None:
            if not isinstance(error, (Interrupted, OrderNotAllowed)):
                logger.error("%s: the attempt ended in %s", site, type(error).__name__)
            return True
        return done.result() is not None

    def _finish(self, site: str) -> None:
        with self._lock:
            self._busy.discard(site)
            self._since.pop(site, None)
            following = self._next_of(self._tenants.pop(site, None))
        self._ended(site)
        if following is not None:
            self._ended(following)

    def _next_of(self, tenant: str | None) -> str | None:
        """The site of this tenant that has waited longest."""
        waiting = self._waiting.get(tenant) if tenant is not None else None
        if tenant is None or not waiting:
            return None
        site = next(iter(waiting))
        del waiting[site]
        if not waiting:
            del self._waiting[tenant]
        return site
