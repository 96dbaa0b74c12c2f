"""A world in which years pass in a second: sites, a CA that behaves as told, and a clock that only moves from event to
event. It calls the product's decisions in the order in which the maintenance loop does, and writes down every attempt
and every mail."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from certstore.model.notify.due_notices import Notice, Told, plan_notices
from certstore.model.notify.warnings import WatchedSite, decide_matter
from certstore.model.renewal.decision import Keep, LiveCertificate, Origin, SiteToRenew, decide_renewal, place_of
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.order_decision import (
    choose_names,
    plan_order,
    select_ca,
    settle_failure,
    settle_hold,
    settle_success,
)
from certstore.model.renewal.partial_order import HoldBack
from certstore.model.renewal.rate_limits import LETS_ENCRYPT, Ledger, Limit
from certstore.model.renewal.state import RenewalState, SuggestedWindow
from certstore.model.settings.models import Source

BEGIN = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)

Behaviour = Callable[[SiteToRenew, tuple[str, ...], datetime], Failure | None]


def always_up(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
    return None


def down_between(start: timedelta, end: timedelta, failure: Failure | None = None) -> Behaviour:
    """A CA that fails every order from `start` to `end`, both counted from the beginning of the world."""
    default = Failure(Cause.CA_UNREACHABLE, "no connection to the CA")

    def behave(site: SiteToRenew, names: tuple[str, ...], now: datetime) -> Failure | None:
        return (failure or default) if BEGIN + start <= now < BEGIN + end else None

    return behave


@dataclass
class Attempted:
    at: datetime
    site: str
    names: tuple[str, ...]
    failure: Failure | None
    ca: str

    @property
    def day(self) -> float:
        return (self.at - BEGIN) / DAY


@dataclass
class Life:
    site: SiteToRenew
    state: RenewalState = field(default_factory=RenewalState)
    contact: tuple[str, ...] = ()
    issued: int = 0


class World:
    """`fatal` says which names fail the preflight at a time; `window` is the CA's ARI answer for a certificate."""

    def __init__(
        self,
        lifetime: timedelta,
        ca: Behaviour = always_up,
        *,
        fatal: Callable[[datetime], Collection[str]] = lambda now: (),
        window: Callable[[LiveCertificate, datetime], SuggestedWindow | None] | None = None,
        cas: tuple[str, ...] = ("first",),
        limits: Ledger | None = None,
        recipients: tuple[str, ...] = ("admin@example.org",),
        spread: bool = False,
    ) -> None:
        self.lifetime = lifetime
        self.ca = ca
        self.fatal = fatal
        self.window = window
        self.cas = cas
        self.ledger = limits or Ledger(LETS_ENCRYPT)
        self.recipients = recipients
        self.spread = spread
        self.now = BEGIN
        self.lives: dict[str, Life] = {}
        self.attempts: list[Attempted] = []
        self.mails: list[tuple[datetime, Notice]] = []
        self.expired: list[str] = []
        self.holds: list[tuple[datetime, Limit]] = []
        self._told: dict[str, Told] = {}
        self._queue: list[tuple[datetime, int, str]] = []
        self._turns = 0

    def add(self, *names: str, source: Source = Source.ACME, contact: tuple[str, ...] = (), live: bool = True) -> Life:
        """A site; `live`: with a certificate that was issued just now."""
        site = SiteToRenew(names[0], names, source, None, self.cas, request=" ".join(names))
        life = self.lives[names[0]] = Life(site, contact=contact)
        if live:
            self._issue(life, names, Origin.ACME if source is Source.ACME else Origin.FILE)
        self._push(self.now, names[0])
        return life

    def change_names(self, site: str, *names: str) -> None:
        life = self.lives[site]
        life.site = replace(life.site, names=names, request=" ".join(names))
        self._push(self.now, site)

    def run(self, days: float, *, mails: bool = True) -> None:
        """Let so many days pass."""
        end = self.now + days * DAY
        tick = timedelta(minutes=30)
        next_mail = self.now
        while True:
            due = self._queue[0][0] if self._queue else end
            if mails and next_mail <= min(due, end):
                self.now = max(self.now, next_mail)
                self._send_mails()
                next_mail += tick
                continue
            if due > end:
                break
            at, _, site = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            self._look(self.lives[site])
        self.now = end
        for life in self.lives.values():
            self._note_end(life)

    def days_of_attempts(self, site: str | None = None) -> list[float]:
        return [round(each.day, 2) for each in self.attempts if site in (None, each.site)]

    def days_of_mails(self, recipient: str = "admin@example.org") -> list[tuple[int, str]]:
        """(days since the beginning, kind)"""
        return [((at - BEGIN) // DAY, mail.kind.value) for at, mail in self.mails if mail.recipient == recipient]

    def _look(self, life: Life) -> None:
        site, state, now = life.site, life.state, self.now
        live = site.live
        self._note_end(life)
        if self.window is not None and live is not None and state.ask_at(live.fingerprint, now) <= now < live.not_after:
            state = life.state = state.after_info(live.fingerprint, self.window(live, now), now, None)
        fraction = place_of(live.fingerprint) if self.spread and live is not None else 0.0
        decision = decide_renewal(site, state, now, fraction=fraction)
        if isinstance(decision, Keep):
            wake = [decision.until or now + DAY]
            if self.window is not None and live is not None and now < live.not_after:
                wake.append(state.ask_at(live.fingerprint, now))
            self._push(max(min(wake), now + timedelta(seconds=1)), site.site)
            return
        fatal = [name for name in self.fatal(now) if name in site.names]
        chosen = choose_names(site, state, fatal, now)
        order = None if isinstance(chosen, HoldBack) else chosen
        failure: Failure | None
        if isinstance(chosen, HoldBack):
            failure = Failure(Cause.NO_SUCH_NAME, "no such name", chosen.names)
        else:
            planned = plan_order(site, chosen.names, now, reason=decision.reason, replaces=self.window is not None)
            if (hold := self.ledger.find_hold(planned, now)) is not None:
                assert hold.limit is not None
                self.holds.append((now, hold.limit))
                life.state = settle_hold(site, state, hold, fraction=place_of(f"{site.site} {now}"))
                self._push(now + timedelta(seconds=1), site.site)
                return
            ca = select_ca(state, self.cas)
            failure = self.ca(site, chosen.names, now)
            if failure is None or failure.cause is not Cause.CA_UNREACHABLE:
                self.ledger.note_order(now)
            self.attempts.append(Attempted(now, site.site, chosen.names, failure, ca))
        if failure is None and order is not None:
            self.ledger.note_certificate(order.names, now)
            life.state = settle_success(state, order, now)
            self._issue(life, order.names, Origin.ACME)
        elif failure is not None:
            for name in failure.names if order is not None else ():
                self.ledger.note_failed(name, now)
            life.state = settle_failure(
                site, state, failure, now, reason=decision.reason, order=order, fraction=0.5 if self.spread else 0.0
            )
        self._push(now + timedelta(seconds=1), site.site)

    def _note_end(self, life: Life) -> None:
        live = life.site.live
        if live is not None and self.now >= live.not_after and life.site.site not in self.expired:
            self.expired.append(life.site.site)

    def _issue(self, life: Life, names: tuple[str, ...], origin: Origin) -> None:
        life.issued += 1
        live = LiveCertificate(
            f"{life.site.site}-{life.issued}",
            names,
            self.now,
            self.now + self.lifetime,
            origin,
            "first" if origin is Origin.ACME else None,
        )
        life.site = replace(life.site, live=live)
        if life.site.site in self.expired:
            self.expired.remove(life.site.site)

    def _send_mails(self) -> None:
        matters = []
        for life in self.lives.values():
            site = life.site
            watched = WatchedSite(site.site, site.names, site.source, site.live, life.state, life.contact)
            if (matter := decide_matter(watched, self.now)) is not None:
                matters.append((matter, (*self.recipients, *life.contact)))
        for mail in plan_notices(matters, self._told, self.now):
            self.mails.append((self.now, mail))
            self._told[mail.recipient] = mail.told

    def _push(self, at: datetime, site: str) -> None:
        self._turns += 1
        heapq.heappush(self._queue, (at, self._turns, site))
