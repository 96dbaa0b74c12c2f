"""Notices drops and has them looked at: at once when the system says so, by a periodic sweep when it does not.

Threads: watchdog's own put touched places into the queue; `drop-watch` takes them out and calls the writer, the only
one here that does; `drop-sweep` looks over all places every `sweep_seconds` and puts what changed behind the urgent
ones, without holding the writer's lock. Used by the control process, and by the addon when it runs alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from certstore.model.names import is_public_suffix
from certstore.store.drops.processing import DropCheck
from certstore.store.writer import StoreWriter
from certstore.watch.inotify import Notifications
from certstore.watch.queue import CheckQueue, Kind, Place
from certstore.watch.scan import View, take_view

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.04
LONGEST_SECONDS = 0.5
_AGAIN_SECONDS = 30.0
_PROGRESS_EVERY = 1000


class DropWatcher:
    """From `start` to `stop`. `on_look` is called in the watching thread after every look that judged something."""

    def __init__(
        self,
        writer: StoreWriter,
        *,
        sweep_seconds: float = 60.0,
        on_check: Callable[[DropCheck], None] | None = None,
    ) -> None:
        self._writer = writer
        self._sweep_seconds = sweep_seconds
        self._on_look = on_check
        self._queue = CheckQueue(quiet=QUIET_SECONDS, longest=LONGEST_SECONDS)
        self._notifications = Notifications(writer.layout, self._queue.touch)
        self._view: View | None = None
        self._sweep_wanted = threading.Event()
        self._stopping = threading.Event()
        self._is_sweeping = False
        self._threads = [
            threading.Thread(target=self._watch, name="drop-watch", daemon=True),
            threading.Thread(target=self._sweep, name="drop-sweep", daemon=True),
        ]

    @property
    def problem(self) -> str | None:
        """What the system does not tell about, so that only the sweep finds it; None when it tells about everything."""
        return self._notifications.problem

    @property
    def is_idle(self) -> bool:
        """Whether a sweep has been made and everything that it brought up has been looked at."""
        is_swept = self._view is not None and not self._sweep_wanted.is_set() and not self._is_sweeping
        return is_swept and self._queue.is_idle

    def start(self) -> None:
        """Returns at once; what lies in the drop places already is looked at in the background."""
        self._notifications.start()
        self._sweep_wanted.set()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits for a look that is under way. Idempotent."""
        self._stopping.set()
        self._sweep_wanted.set()
        self._queue.close()
        self._notifications.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def sweep_soon(self) -> None:
        """Do not wait for the next sweep."""
        self._sweep_wanted.set()

    # drop-sweep

    def _sweep(self) -> None:
        # The list of public suffixes takes a moment to read: now, rather than while somebody's first drop waits.
        is_public_suffix("example.com")
        while not self._stopping.is_set():
            self._is_sweeping = True
            # In this order: a wish to stop that comes in between is seen by the loop, not cleared.
            self._sweep_wanted.clear()
            if self._stopping.is_set():
                return
            try:
                self._sweep_once()
            except Exception:  # the sweep is the last resort: whatever happened, the next one comes
                logger.exception("the sweep of the drop places failed; the next one is in %g s", self._sweep_seconds)
            self._is_sweeping = False
            self._sweep_wanted.wait(self._sweep_seconds)

    def _sweep_once(self) -> None:
        is_first = self._view is None
        if is_first:
            # Watched before it is looked at: what is dropped in between is then seen twice rather than never.
            self._notifications.renew(0)
        view = take_view(self._writer.layout)
        changed = view.changed_since(self._view)
        if is_first:
            # Those too that have no place left: that their source is missing is to be said.
            changed += [Place(Kind.SITE, site) for site in self._writer.sites()]
        if len(changed) >= _PROGRESS_EVERY:
            logger.info("%d drop places to look at", len(changed))
        self._queue.add_backlog(changed)
        self._view = view
        self._notifications.renew(view.folders)
        for place in view.linked:
            self._notifications.follow_links(place)

    # drop-watch

    def _watch(self) -> None:
        looked, began = 0, time.monotonic()
        while (place := self._queue.take()) is not None:
            try:
                self._look(place)
            except Exception:  # one site's trouble must not end the watching of all others
                logger.exception("looking at %s failed; tried again in %g s", place.name, _AGAIN_SECONDS)
                self._queue.check_later(place, _AGAIN_SECONDS)
            looked += 1
            left = self._queue.backlog
            if not left:
                looked, began = 0, time.monotonic()
            elif looked % _PROGRESS_EVERY == 0:
                logger.info("%d places looked at in %.1f s, %d to go", looked, time.monotonic() - began, left)

    def _look(self, place: Place) -> None:
        site = place.name
        if place.kind is not Kind.SITE:
            found = self._writer.site_of_place(place.name, is_folder=place.kind is Kind.FOLDER)
            if found is None:
                return
            site = found
        check = self._writer.check(site)
        if check.again_in is not None:
            self._queue.check_later(place, check.again_in.total_seconds())
        if check.result is not None and self._on_look is not None:
            self._on_look(check)
