"""Notices drops and lets the writer check them: at once when the system reports a change, with the next scan when it
does not.

Three kinds of threads: watchdog's own put touched places into a queue; `drop-watch` take them out and are the only ones
here that call the writer; `drop-scan` looks at all places every `scan_seconds` and queues those that changed behind the
urgent ones, without holding the writer's lock. Used by the control process, and by the addon when it runs alone.

There is a lane per effort, because files with passwords may take seconds to open: what one lane can't read goes on in
the next, so that a drop of plain files is never behind one of those.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from certstore.model.names import is_public_suffix
from certstore.store.drops.ownership import tenant_of
from certstore.store.drops.processing import DropCheck
from certstore.store.unlocking import Effort
from certstore.store.writer import StoreWriter
from certstore.watch.inotify import Notifications
from certstore.watch.queue import CheckQueue, Kind, Place
from certstore.watch.scan import Look, look_at, take_view
from certstore.watch.seen import SeenPlaces

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.04
LONGEST_SECONDS = 0.5
_AGAIN_SECONDS = 30.0
_PROGRESS_EVERY = 1000
_LANES = {Effort.NONE: 2, Effort.SHORT: 2, Effort.FULL: 1}
"""How many threads read with which effort."""
_SLOW_SECONDS = 0.1
"""CPU seconds. A site whose plain drop took longer to read waits with those that need effort, the next time."""
_HEAVY_SECONDS = 2.0
"""A site whose drop opened sooner is not heavy any longer."""


@dataclass(frozen=True, slots=True)
class _Lane:
    effort: Effort
    queue: CheckQueue


class DropWatcher:
    """Runs from `start` to `stop`. `on_check` is called in a watching thread after each check that had a result."""

    def __init__(
        self, writer: StoreWriter, *, scan_seconds: float = 60.0, on_check: Callable[[DropCheck], None] | None = None
    ) -> None:
        self._writer = writer
        self._scan_seconds = scan_seconds
        self._on_check = on_check
        self._lanes = {
            effort: _Lane(effort, CheckQueue(quiet=QUIET_SECONDS, longest=LONGEST_SECONDS)) for effort in _LANES
        }
        self._queue = self._lanes[Effort.NONE].queue
        self._heavy: set[str] = set()
        """The sites whose last drop with a password took more than a short effort."""
        self._slow: set[str] = set()
        """Those whose last plain drop took long."""
        self._notifications = Notifications(writer.layout, self._queue.touch)
        self._seen = SeenPlaces(writer.layout)
        self._signatures: dict[Place, int] | None = None
        """How the last scan found each place; None before the first one."""
        self._scan_wanted = threading.Event()
        self._stopping = threading.Event()
        self._is_scanning = False
        self._threads = [
            threading.Thread(target=self._scan, name="drop-scan", daemon=True),
            *(
                threading.Thread(target=self._watch, args=(self._lanes[effort],), name="drop-watch", daemon=True)
                for effort, threads in _LANES.items()
                for _ in range(threads)
            ),
        ]

    @property
    def problem(self) -> str | None:
        """What the system does not report, so that only a scan finds it; None when it reports everything."""
        return self._notifications.problem

    @property
    def is_idle(self) -> bool:
        """Whether there has been a scan and every place that it found has been checked."""
        is_scanned = self._signatures is not None and not self._scan_wanted.is_set() and not self._is_scanning
        return is_scanned and all(lane.queue.is_idle for lane in self._lanes.values())

    def start(self) -> None:
        """Returns at once; what lies in the drop places already is checked in the background."""
        self._notifications.start()
        self._scan_wanted.set()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits for a check that is under way. Idempotent."""
        self._stopping.set()
        self._scan_wanted.set()
        for lane in self._lanes.values():
            lane.queue.close()
        self._notifications.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._seen.close()

    # drop-scan

    def _scan(self) -> None:
        # The list of public suffixes takes a moment to read: now, rather than while somebody's first drop waits.
        is_public_suffix("example.com")
        while not self._stopping.is_set():
            self._is_scanning = True
            # In this order: a wish to stop that comes in between is seen by the loop, not cleared.
            self._scan_wanted.clear()
            if self._stopping.is_set():
                return
            try:
                self._scan_once()
            except Exception:  # the scan is the last resort: the next one follows in any case
                logger.exception("the scan of the drop folders failed; the next one is in %g s", self._scan_seconds)
            self._is_scanning = False
            self._scan_wanted.wait(self._scan_seconds)

    def _scan_once(self) -> None:
        is_first = self._signatures is None
        if is_first:
            # Watched before it is scanned: what is dropped in between is then seen twice rather than never.
            self._notifications.renew(0)
        view = take_view(self._writer.layout, self._writer.sites())
        changed = view.changed_since(self._seen.signatures() if self._signatures is None else self._signatures)
        if len(changed) >= _PROGRESS_EVERY:
            logger.info("%d drop places to check", len(changed))
        if is_first:
            changed += map(view.place_of, self._writer.unsettled())
        self._queue.add_backlog(changed)
        self._signatures = view.signatures
        self._notifications.renew(view.folders)
        for place in view.linked:
            self._notifications.follow_links(place)

    # drop-watch

    def _watch(self, lane: _Lane) -> None:
        checked, began = 0, time.monotonic()
        while (place := lane.queue.take()) is not None:
            try:
                self._check(lane, place)
            except Exception:  # one site's trouble must not end the watching of all others
                logger.exception("checking %s failed; the next try is in %g s", place.name, _AGAIN_SECONDS)
                lane.queue.check_later(place, _AGAIN_SECONDS)
                lane.queue.done(place)
            checked += 1
            left = lane.queue.backlog
            if not left:
                checked, began = 0, time.monotonic()
            elif checked % _PROGRESS_EVERY == 0:
                logger.info("%d places checked in %.1f s, %d to go", checked, time.monotonic() - began, left)

    def _check(self, lane: _Lane, place: Place) -> None:
        look = look_at(self._writer.layout, place)  # first: what changes from here on gives another signature
        site: str | None = place.name
        if place.kind is not Kind.SITE:
            site = self._writer.site_of_place(place.name, is_folder=place.kind is Kind.FOLDER)
        if site is None:
            self._seen.forget(place)
            lane.queue.done(place)
        elif lane.effort is Effort.NONE and site in self._slow:
            self._pass_on(lane, place, Effort.SHORT)
        elif lane.queue.begin(place, tenant_of(self._writer.layout, site)):
            self._check_site(lane, place, look, site)

    def _check_site(self, lane: _Lane, place: Place, look: Look, site: str) -> None:
        if lane.queue.is_touched(place):
            self._notifications.follow_links(place)  # before they are read; the scan does so for all other places
        began, began_here = time.monotonic(), time.thread_time()
        check = self._writer.check(site, lane.effort)
        is_slow = time.thread_time() - began_here > _SLOW_SECONDS
        (self._slow.add if is_slow else self._slow.discard)(site)
        if check.is_settled and not look.may_hide_a_change(time.time_ns()):
            self._seen.keep(place, look.signature)
        else:
            self._seen.forget(place)
        if check.again_in is not None:
            self._queue.check_later(place, check.again_in.total_seconds())
        if check.needs is not None:
            if check.needs is Effort.FULL:
                self._heavy.add(site)
            self._pass_on(lane, place, Effort.FULL if site in self._heavy else check.needs)
            return
        if lane.effort is not Effort.NONE and time.monotonic() - began < _HEAVY_SECONDS:
            self._heavy.discard(site)
        if check.result is not None and self._on_check is not None:
            self._on_check(check)
        lane.queue.done(place)

    def _pass_on(self, lane: _Lane, place: Place, effort: Effort) -> None:
        """First to the one, then from the other: the watcher is never idle in between."""
        self._lanes[effort].queue.add_backlog([place])
        lane.queue.done(place)
