"""What outlives a restart: one renewal state per site, and one ledger of limits per CA.

Several threads may use it at once. A write error is logged, and never stops a renewal. Decides nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from certstore.files.keyed_state import KeyedState
from certstore.model.layout import Layout
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.rate_limits import Ledger, limits_of
from certstore.model.renewal.state import FRESH, RenewalState

logger = logging.getLogger(__name__)

FORGOTTEN_AFTER = timedelta(days=8)
"""No known limit of a CA looks back further than a week."""
MOST_EVENTS = 2000
"""Of one counter: more than any limit of a CA allows, so older ones decide nothing."""
_LAST_SECOND = datetime.max.replace(tzinfo=UTC).timestamp()


def is_counter(value: Any) -> bool:
    """Times in seconds since the epoch, as `Ledger.events` returns them."""
    return isinstance(value, list) and all(isinstance(each, float | int) and 0 <= each < _LAST_SECOND for each in value)


class RenewalMemory:
    """Call `close` at the end."""

    def __init__(self, layout: Layout, now: datetime) -> None:
        self._lock = threading.RLock()
        self._states: dict[str, RenewalState] = {}
        self._kept = KeyedState(layout.renewals, layout.temporary)
        self._counters = KeyedState(layout.ca_counters, layout.temporary, is_valid=is_counter)
        self._ledgers: dict[str, Ledger] = {}
        self.on_count: Callable[[str], None] = lambda _: None
        """Called with the key of a counter after an event of this node; it must not wait."""
        self._read(now)

    def _read(self, now: datetime) -> None:
        for site, facts in self._kept.items():
            try:
                self._states[site] = RenewalState.from_json(facts)
            except (KeyError, TypeError, ValueError):
                logger.warning("the renewal state of %s is damaged; it starts afresh", site)
        oldest = (now - FORGOTTEN_AFTER).timestamp()
        for key in [key for key, times in self._counters.items() if not times or times[-1] < oldest]:
            with _tolerating():
                self._counters.drop(key, is_durable=False)

    def state(self, site: str) -> RenewalState:
        with self._lock:
            return self._states.get(site, FRESH)

    def states(self) -> Mapping[str, RenewalState]:
        with self._lock:
            return dict(self._states)

    def put(self, site: str, state: RenewalState, *, is_durable: bool = True) -> None:
        with self._lock:
            self._states[site] = state
            with _tolerating():
                self._kept.put(site, state.to_json(), is_durable=is_durable)

    def update(
        self, site: str, change: Callable[[RenewalState], RenewalState], *, is_durable: bool = True
    ) -> RenewalState:
        """Change the present state, which an attempt may have changed meanwhile. Returns the state before."""
        with self._lock:
            before = self.state(site)
            self.put(site, change(before), is_durable=is_durable)
            return before

    def forget(self, site: str) -> None:
        with self._lock:
            self._states.pop(site, None)
            with _tolerating():
                self._kept.drop(site, is_durable=False)

    def adopt(self, site: str, state: RenewalState) -> None:
        """What another node remembers of the site; each asks for the CA's window itself."""
        with self._lock:
            before = self.state(site)
            if (fresh := replace(state, info=before.info)) != before:
                self.put(site, fresh, is_durable=False)

    def counters(self) -> Mapping[str, list[float]]:
        with self._lock:
            return dict(self._counters)

    def adopt_counter(self, key: str, times: Iterable[float]) -> None:
        """What other nodes have counted too."""
        ca, _, name = key.partition("|")
        with self._lock, _tolerating():
            have = self._counters.get(key, [])
            whole = sorted({*have, *times})[-MOST_EVENTS:]
            if whole == have:
                return
            self._counters.put(key, whole, is_durable=False)
            if (ledger := self._ledgers.get(ca)) is not None:
                ledger.learn(name, whole)

    @contextlib.contextmanager
    def ledger(self, ca: Ca) -> Iterator[Ledger]:
        """The CA's ledger, for one question or note. Notes are written to disk."""
        with self._lock:
            if ca.key not in self._ledgers:
                prefix = f"{ca.key}|"
                events = {
                    key.removeprefix(prefix): times for key, times in self._counters.items() if key.startswith(prefix)
                }
                self._ledgers[ca.key] = Ledger(limits_of(ca.host), events, partial(self._keep_counter, prefix))
            yield self._ledgers[ca.key]

    def _keep_counter(self, prefix: str, key: str, times: list[float]) -> None:
        """Not synced each time: a power cut may lose the last count, but the CA counts too."""
        with _tolerating():
            self._counters.put(prefix + key, times, is_durable=False)
        self.on_count(prefix + key)

    def close(self) -> None:
        with self._lock:
            self._kept.close()
            self._counters.close()


@contextlib.contextmanager
def _tolerating() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.error("can't write the state of renewals: %s: %s", error.filename, error.strerror)
