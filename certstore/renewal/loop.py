"""The maintenance loop: checks every site when its time comes, and runs a bounded number of orders at once.

The loop itself never waits for a network: attempts run in `attempt_lanes`, questions about windows on one thread. What
is due is decided in `certstore.model`; the state lies in `memory`, so a restart loses no schedule.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from certstore.acme.token_sharing import TokenSharing
from certstore.files.clock import Clock, utc_now
from certstore.model.duty import Alone, Duty
from certstore.model.notify.warnings import Matter, decide_matter, stalled
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.decision import (
    Keep,
    NextRenewal,
    Renew,
    RenewalReason,
    decide_renewal,
    fraction_of,
    next_renewal,
)
from certstore.model.renewal.state import RenewalState
from certstore.model.settings.models import Settings, Source
from certstore.model.snapshot import SiteEntry, Snapshot
from certstore.renewal.attempt import Attempt, Attempted
from certstore.renewal.attempt_lanes import AttemptLanes
from certstore.renewal.context import RenewalContext
from certstore.renewal.memory import RenewalMemory
from certstore.renewal.order_sharing import OrderSharing
from certstore.renewal.renewal_windows import RenewalWindows
from certstore.store.journal import JournalReader, JournalUnreadable
from certstore.store.writer import StoreWriter, UnknownSite
from certstore.store.writer_state import SiteProblem

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How soon a changed site.yaml is seen. A tick without news costs one stat and one comparison."""
STALLED_AFTER = timedelta(minutes=10)
LONGEST_SLEEP = timedelta(hours=6)
"""A site is checked at least this often, so that a clock that was set or a wrong decision does no lasting harm."""
TENANT_WAIT = timedelta(minutes=1)
"""A site whose tenant has enough attempts under way is checked again after this time at the latest."""
_STOP_SECONDS = 20.0


class SiteBusy(Exception):
    """An attempt for this site is under way already."""


class Maintenance:
    """Made with the writer that control holds. Call `start` and `stop` once each; without `start` the other methods
    work all the same.

    `last_round` is when the loop last finished everything that was due. While another node has the `duty`, the loop
    looks at nothing; what a person asks for is done all the same.
    """

    def __init__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        *,
        clock: Clock = utc_now,
        duty: Duty | None = None,
        sharing: TokenSharing | None = None,
        orders: OrderSharing | None = None,
    ) -> None:
        self._duty = duty or Alone()
        self._had_duty = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self.clock = clock
        self.memory = RenewalMemory(writer.layout, clock())
        self.context = RenewalContext(writer, settings, base, self.memory, self._stopping.wait, clock, sharing, orders)
        self.last_round = clock()
        self._writer = writer
        self._reader = JournalReader(writer.layout)
        self._snapshot: Snapshot | None = None
        self._due: list[tuple[datetime, str]] = []
        self._when: dict[str, datetime] = {}
        self._interrupted: set[str] = set()
        self._overdue: Mapping[str, datetime] = {}
        self._lock = threading.Lock()
        self._lanes = AttemptLanes(clock, self._finished)
        self._windows = RenewalWindows(self.context, self.check_soon)
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    # Start and stop

    def start(self) -> None:
        """Begin to look after all sites."""
        self.remove_stale()
        self._lanes.submit(self.context.tidy)
        self._thread.start()

    def remove_stale(self) -> None:
        """Clear what a kill left behind. No order of this process may be under way yet."""
        orders, tokens = self.context.remove_stale(self._live_fingerprint)
        if orders or tokens:
            logger.info("removed what interrupted orders left behind: %d orders, %d tokens", orders, tokens)
        self._interrupted = set(self.context.journal.sites())

    def _live_fingerprint(self, site: str) -> str | None:
        live = self._writer.live_version(site)
        return live.fingerprint if live is not None else None

    def stop(self) -> None:
        """Checks end at once, orders under way at their next pause, and the next start resumes them."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._lanes.stop()
        self._windows.stop()
        self._reader.close()
        self.context.orders.bind(None)
        self.memory.close()

    def wake(self) -> None:
        """Something has changed: start the next round now."""
        self._wake.set()

    def check_soon(self, site: str) -> None:
        """Decide again for the site in the next round."""
        if not self._stopping.is_set():
            self._schedule(site, self.clock())
            self._wake.set()

    def is_stalled(self, now: datetime) -> bool:
        return now - self.last_round > STALLED_AFTER

    # Questions

    @property
    def under_way(self) -> int:
        """How many orders run now."""
        return self._lanes.under_way

    @property
    def slow_orders(self) -> int:
        """How many orders, so far, went into the lanes for slow ones."""
        return self._lanes.slow

    def overdue(self, now: datetime) -> Mapping[str, datetime]:
        """The sites whose attempts hang, and since when."""
        return self._lanes.overdue(now)

    def entries(self) -> Mapping[str, SiteEntry]:
        """All sites as they are now."""
        return self._writer.snapshot().sites

    def warnings(self, now: datetime) -> list[tuple[Matter, tuple[str, ...]]]:
        """What there is to warn of, each with the site's own contacts."""
        found = []
        for entry in self.entries().values():
            watched = self.context.sites.watched(entry, self.memory.state(entry.site))
            if (matter := decide_matter(watched, now)) is not None:
                found.append((matter, watched.contact))
        if self._thread.ident is not None and self.is_stalled(now):
            found.append((stalled(self.last_round), ()))
        return found

    @property
    def is_any_busy(self) -> bool:
        """Whether an attempt for any site is under way."""
        return self._lanes.is_any_busy

    def is_ordering(self, site: str) -> bool:
        return self._lanes.is_busy(site)

    def next_renewal(self, entry: SiteEntry, state: RenewalState) -> NextRenewal:
        """When the site's certificate is ordered next, for people."""
        return next_renewal(entry.site, self.context.sites.live(entry), state)

    def attempt_now(
        self,
        site: str,
        tell: Tell,
        *,
        reason: RenewalReason = RenewalReason.ASKED_FOR,
        force: bool = False,
        new_key: bool = False,
        is_detached: bool = False,
    ) -> Attempted:
        """One attempt on the caller's thread, for a person who waits. `is_detached`: without asking other nodes.
        Raises SiteBusy, KeyError for a site that can't be ordered for, OrderNotAllowed, Interrupted."""
        target = self.context.sites.to_renew(self.entries()[site])
        if target is None:
            raise KeyError(site)
        with self._lanes.held(site) as is_free:
            if not is_free:
                raise SiteBusy(site)
            attempt = Attempt(
                self.context, target, reason, tell, ignores_limits=force, new_key=new_key, is_detached=is_detached
            )
            return attempt.run()

    # The loop

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception:
                # What fails now may work at the next tick. The watchdog sees a loop that fails each time, as
                # `last_round` stays behind.
                logger.exception("a maintenance round failed")
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def round(self) -> None:
        """Take over what changed, and check the sites that are due; nothing while another node does so."""
        now = self.clock()
        if not self._duty.is_mine():
            self._had_duty, self.last_round = False, now
            return
        if not self._had_duty:
            self._had_duty = True
            self._lanes.submit(self.context.update_contacts)
        self._take_over_changes(now)
        while (site := self._next_due(now)) is not None:
            self._check(site, now)
        self._report_overdue(now)
        self.last_round = now

    def _report_overdue(self, now: datetime) -> None:
        before, self._overdue = self._overdue, self.overdue(now)
        for site in self._overdue.keys() - before.keys():
            since = self._overdue[site]
            message = f"an attempt to order a certificate hangs: it has been running since {since:%Y-%m-%d %H:%M} UTC"
            with suppress(UnknownSite):
                self._writer.set_problem(site, SiteProblem.ATTEMPT_OVERDUE, message)

    def _take_over_changes(self, now: datetime) -> None:
        before = self._snapshot
        try:
            snapshot = self._reader.load() if before is None else self._reader.poll()
        except JournalUnreadable:
            return
        if snapshot is None:
            return
        self._snapshot = snapshot
        for site in snapshot.changed_since(before):
            if site in snapshot.sites:
                self._schedule(site, now)
            else:
                self.memory.forget(site)
                self._when.pop(site, None)

    def _schedule(self, site: str, at: datetime) -> None:
        with self._lock:
            self._when[site] = at
            heapq.heappush(self._due, (at, site))

    def _next_due(self, now: datetime) -> str | None:
        """The next site whose time has come, while there is room for its order."""
        with self._lock:
            while self._due and self._due[0][0] <= now:
                if not self._lanes.has_room:
                    return None
                at, site = heapq.heappop(self._due)
                if self._when.get(site) == at:
                    del self._when[site]
                    return site
        return None

    def _check(self, site: str, now: datetime) -> None:
        """Decide for one site, then schedule the next check, ask for its window, or order."""
        if self._lanes.is_busy(site):
            return  # the end of the attempt schedules it again
        # As it is after the last attempt: the snapshot of this round may lack the certificate that has come meanwhile.
        entry = self._entry(site)
        target = self.context.sites.to_renew(entry) if entry is not None and entry.source is Source.ACME else None
        if target is None:
            return  # the next change of the site schedules it again
        state, live = self.memory.state(site), target.live
        ask_at = state.ask_at(live.fingerprint, now) if live is not None and now < live.not_after else None
        if live is not None and ask_at is not None and ask_at <= now:
            self._windows.update(site, live)
            if state.info is None or state.info.fingerprint != live.fingerprint:
                return  # the first answer counts, and brings another check
        decision = decide_renewal(target, state, now, fraction=fraction_of(site, live))
        is_interrupted = site in self._interrupted
        self._interrupted.discard(site)
        only_resumes = is_interrupted and state.next_attempt is None and isinstance(decision, Keep)
        if only_resumes:
            decision = Renew(RenewalReason.ASKED_FOR)  # not due: a person asked for it before the restart
        match decision:
            case Keep(until):
                times = [now + LONGEST_SLEEP]
                if until is not None:
                    times.append(until)
                if ask_at is not None and ask_at > now:
                    times.append(ask_at)
                self._schedule(site, max(min(times), now + timedelta(seconds=TICK_SECONDS)))
            case Renew(reason) if entry is not None:
                attempt = Attempt(self.context, target, reason, tell_nobody, only_resumes=only_resumes)
                if not self._lanes.start(site, attempt, self.context.sites.tenant(entry)):
                    self._schedule(site, now + TENANT_WAIT)

    def _entry(self, site: str) -> SiteEntry | None:
        with suppress(UnknownSite):
            return self._writer.site(site)
        return None

    def _finished(self, site: str) -> None:
        with suppress(UnknownSite):
            self._writer.set_problem(site, SiteProblem.ATTEMPT_OVERDUE, None)
        if not self._stopping.is_set():
            self._schedule(site, self.clock() + timedelta(seconds=TICK_SECONDS))
            self._wake.set()
