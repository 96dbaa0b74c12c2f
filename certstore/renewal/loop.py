"""The maintenance loop: looks at every site when its time comes, and lets a bounded number of orders run at once.

The loop itself never waits for a network: orders run on a few threads, questions for windows on one, mails on another.
What is due is decided in `certstore.model`; what is remembered lies in `renewal_book`, so a restart loses no schedule.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from certstore.acme.issue import Interrupted
from certstore.acme.network import OrderFailed
from certstore.acme.renewal_info import RenewalInfoAnswer
from certstore.files.clock import utc_now
from certstore.model.notify.warnings import Matter, decide_matter, stalled
from certstore.model.progress import Tell, tell_nobody
from certstore.model.record import Outcome, Record
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.decision import (
    Keep,
    LiveCertificate,
    Renew,
    RenewalReason,
    decide_renewal,
    place_of,
    renewal_instant,
)
from certstore.model.renewal.state import RenewalState, SuggestedWindow
from certstore.model.settings.models import Settings, Source
from certstore.model.snapshot import SiteEntry, Snapshot
from certstore.renewal.attempt import Attempt, Attempted, Tools, live_certificate_id
from certstore.renewal.memory import RenewalMemory
from certstore.renewal.renewal_windows import NO_ANSWER, AriClient
from certstore.renewal.sites import ACME_SOURCE
from certstore.store.journal import JournalReader, JournalUnreadable
from certstore.store.writer import StoreWriter, UnknownSite

logger = logging.getLogger(__name__)

ORDERS_AT_ONCE = 4
TICK_SECONDS = 1.0
"""How soon a changed site.yaml is seen. A tick without news costs one stat and a look at the next due time."""
STALLED_AFTER = timedelta(minutes=10)
LONGEST_SLEEP = timedelta(hours=6)
"""A site is looked at at least so often: a clock that was set, or a decision that was wrong, heals by itself."""
_STOP_SECONDS = 20.0


class SiteBusy(Exception):
    """An attempt for this site is under way already."""


class Maintenance:
    """Made with the writer that control holds. `start` and `stop` once; without `start` its verbs work all the same.

    `last_round` is when the loop last looked through all that was due.
    """

    def __init__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self.clock = clock
        self.memory = RenewalMemory(writer.layout, clock())
        self.tools = Tools(writer, settings, base, self.memory, self._stopping.wait, clock)
        self.writer = writer
        self.last_round = clock()
        self._started_at = clock()
        self._reader = JournalReader(writer.layout)
        self._snapshot: Snapshot | None = None
        self._due: list[tuple[datetime, str]] = []
        self._when: dict[str, datetime] = {}
        self._busy: dict[str, Future[Attempted]] = {}
        self._asking: set[str] = set()
        self._interrupted: set[str] = set()
        self._lock = threading.RLock()
        self._orders = ThreadPoolExecutor(ORDERS_AT_ONCE, "order")
        self._windows = ThreadPoolExecutor(1, "window")
        self._desk = AriClient(self.tools.begin, clock)
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    # Life

    def start(self) -> None:
        """Begin to look after all sites. What a kill left behind is cleared first."""
        self.sweep()
        self._windows.submit(self._update_contacts)
        self._thread.start()

    def sweep(self) -> None:
        """No order of this process is under way yet: what lies there was left behind by a kill. An order whose
        certificate is live has ended, and every token but those of the orders that will be picked up."""
        if left := self.tools.journal.sweep(self._live_fingerprint, self.clock()):
            logger.info("%d orders that nobody needs any more removed", left)
        self._interrupted = set(self.tools.journal.sites())
        needed = self.tools.journal.tokens()
        if left := self.tools.challenges.sweep(self.tools.accounts.thumbprints(), needed):
            logger.info("%d tokens of interrupted orders removed", left)

    def _live_fingerprint(self, site: str) -> str | None:
        live = self.writer.live_version(site)
        return live.fingerprint if live is not None else None

    def stop(self) -> None:
        """Orders under way end at their next pause and are picked up at the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._orders.shutdown(wait=True, cancel_futures=True)
        self._windows.shutdown(wait=True, cancel_futures=True)
        self._desk.close()
        self._reader.close()
        self.memory.close()

    def wake(self) -> None:
        """Something changed that the loop should look at now."""
        self._wake.set()

    def look_again(self, site: str) -> None:
        """Whatever was decided for the site may be different now."""
        self._schedule(site, self.clock())
        self._wake.set()

    def is_stalled(self, now: datetime) -> bool:
        return now - self.last_round > STALLED_AFTER

    # What others ask

    @property
    def under_way(self) -> int:
        """How many orders run now."""
        return len(self._busy)

    def is_ordering(self, site: str) -> bool:
        return site in self._busy

    def renewal_due(self, entry: SiteEntry, state: RenewalState) -> tuple[datetime, RenewalReason] | None:
        """When the site's live certificate is due for renewal, and why; None if it has none."""
        live = self.tools.sites.live(entry)
        return renewal_instant(live, state, site_fraction(entry.site, live)) if live is not None else None

    def entries(self) -> Mapping[str, SiteEntry]:
        """All sites as they stand."""
        return self.writer.snapshot().sites

    def matters(self, now: datetime) -> list[tuple[Matter, tuple[str, ...]]]:
        """What there is to warn of, each with the site's own contacts."""
        found = []
        for entry in self.entries().values():
            watched = self.tools.sites.watched(entry, self.memory.state(entry.site))
            if (matter := decide_matter(watched, now)) is not None:
                found.append((matter, watched.contact))
        if self._thread.ident is not None and self.is_stalled(now):
            found.append((stalled(self.last_round), ()))
        return found

    def attempt_now(
        self, site: str, tell: Tell, *, reason: RenewalReason = RenewalReason.ASKED_FOR, force: bool = False
    ) -> Attempted:
        """One attempt on the caller's thread, for a person who waits. Raises SiteBusy, KeyError for a site that can't
        be ordered for, Interrupted."""
        target = self.tools.sites.to_renew(self.entries()[site])
        if target is None:
            raise KeyError(site)
        done: Future[Attempted] = Future()
        with self._lock:
            if site in self._busy:
                raise SiteBusy(site)
            self._busy[site] = done
        try:
            return Attempt(self.tools, target, reason, tell, ignores_limits=force).run()
        finally:
            done.cancel()
            self._finished(site)

    # The loop

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except Exception:
                # Never ends the loop: what it can't do now it may be able to do at the next tick. The watchdog sees a
                # loop that fails each time, as `last_round` stays behind.
                logger.exception("a maintenance round failed")
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def round(self) -> None:
        """One look at what changed and at what is due."""
        now = self.clock()
        self._take_over_changes(now)
        while (site := self._next_due(now)) is not None:
            self._look(site, now)
        self.last_round = now

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
                if len(self._busy) >= ORDERS_AT_ONCE:
                    return None
                at, site = heapq.heappop(self._due)
                if self._when.get(site) == at:
                    del self._when[site]
                    return site
        return None

    def _look(self, site: str, now: datetime) -> None:
        """Decide for one site; what it comes to is scheduled, asked or ordered."""
        entry = self._snapshot.sites.get(site) if self._snapshot is not None else None
        target = self.tools.sites.to_renew(entry) if entry is not None and entry.source is Source.ACME else None
        if target is None:
            return  # looked at again when it changes
        state = self.memory.state(site)
        live = target.live
        if live is not None and now < live.not_after and state.ask_at(live.fingerprint, now) <= now:
            self._ask_window(site, live)
            if state.info is None or state.info.fingerprint != live.fingerprint:
                return  # the first answer decides; asking ends in another look
        decision = decide_renewal(target, state, now, fraction=site_fraction(site, live))
        is_interrupted = site in self._interrupted
        self._interrupted.discard(site)
        if is_interrupted and state.next_attempt is None and isinstance(decision, Keep):
            decision = Renew(RenewalReason.ASKED_FOR)  # not due: somebody asked for it before the restart
        match decision:
            case Keep(until):
                wake = [now + LONGEST_SLEEP, *([until] if until is not None else [])]
                if live is not None and now < live.not_after and (ask_at := state.ask_at(live.fingerprint, now)) > now:
                    wake.append(ask_at)
                self._schedule(site, max(min(wake), now + timedelta(seconds=TICK_SECONDS)))
            case Renew(reason):
                self._order(Attempt(self.tools, target, reason, tell_nobody), site)

    def _order(self, attempt: Attempt, site: str) -> None:
        with self._lock:
            if site in self._busy:
                return  # its end schedules it again
            self._busy[site] = future = self._orders.submit(attempt.run)
        future.add_done_callback(lambda done: self._ended(site, done))

    def _ended(self, site: str, done: Future[Attempted]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None and not isinstance(error, Interrupted):
            logger.error("%s: the attempt ended in %s", site, type(error).__name__)
        self._finished(site)

    def _finished(self, site: str) -> None:
        with self._lock:
            self._busy.pop(site, None)
        if not self._stopping.is_set():
            self._schedule(site, self.clock() + timedelta(seconds=TICK_SECONDS))
            self._wake.set()

    def _update_contacts(self) -> None:
        """Accounts learn of a contact that was changed in edge.yaml; one that does not exist yet is not made here."""
        for ca in self.tools.cas:
            with suppress(OrderFailed, OSError):
                account = self.tools.accounts.load(ca)
                wanted = self.tools.settings.acme.contact
                if account is not None and wanted and set(wanted) != set(account.contact):
                    conversation = self.tools.begin(ca)
                    self.tools.account(ca, conversation)
                    conversation.close()

    # Windows

    def _ask_window(self, site: str, live: LiveCertificate) -> None:
        with self._lock:
            if site in self._asking:
                return
            self._asking.add(site)
        with suppress(RuntimeError):  # while stopping
            self._windows.submit(self._asked, site, live)

    def _asked(self, site: str, live: LiveCertificate) -> None:
        """A state changed by an order meanwhile is not overwritten: the answer is for `live` only."""
        try:
            ca = next((ca for ca in self.tools.cas if ca.key == live.ca), self.tools.cas[0])
            answer = self._answer(site, ca)
            now = self.clock()
            with self._lock:
                before = self.memory.state(site)
                state = before.after_info(live.fingerprint, answer.window, now, answer.retry_after)
                self.memory.put(site, state, is_durable=False)
            self._tell_explanation(site, ca, before.window_for(live.fingerprint), answer.window)
        finally:
            with self._lock:
                self._asking.discard(site)
            if not self._stopping.is_set():
                self._schedule(site, self.clock())
                self._wake.set()

    def _answer(self, site: str, ca: Ca) -> RenewalInfoAnswer:
        try:
            certificate = live_certificate_id(self.writer, site)
            return self._desk.ask(ca, certificate) if certificate is not None else NO_ANSWER
        except Exception:
            # Without any answer the site would be asked about again at once, and again without end, and never ordered.
            logger.exception("%s: asking the CA for its window failed", site)
            return NO_ANSWER

    def _tell_explanation(
        self, site: str, ca: Ca, before: SuggestedWindow | None, window: SuggestedWindow | None
    ) -> None:
        """RFC 9773 §4.2: the page is for the administrator, so it is put on record when it is new."""
        url = window.explanation_url if window is not None else None
        if window is None or url is None or (before is not None and before.explanation_url == url):
            return
        message = (
            f"the CA wants it renewed between {window.start:%Y-%m-%d %H:%M} and {window.end:%Y-%m-%d %H:%M} UTC: {url}"
        )
        with suppress(UnknownSite):
            record = Record(
                self.clock(), "renewal_info", Outcome.NOTED, "explained", message, source=f"{ACME_SOURCE}{ca.key}"
            )
            self.writer.add_record(site, record)


def site_fraction(site: str, live: LiveCertificate | None) -> float:
    """Where in its window this certificate is renewed: as good as random, and the same for its whole life."""
    return place_of(f"{site} {live.fingerprint}") if live is not None else 0.0
