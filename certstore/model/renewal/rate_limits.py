"""The CA's rate limits, counted here so that no attempt is wasted on an order that the CA would refuse.

The tables hold the figures; a `Ledger` counts what one account did and says whether there is room. Its events are plain
JSON, which the caller keeps. It has no clock: every call is given the time.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from certstore.model.names import is_public_suffix

SPARE_FOR_PEOPLE = 0.1
"""This share of the order limit is reserved for orders that a person asks for, and for endangered certificates."""


class Limit(StrEnum):
    ACCOUNTS = "accounts"
    ORDERS = "orders"
    DOMAIN = "domain"
    EXACT_SET = "exact_set"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `count` events within any `period`."""

    count: int
    period: timedelta


_HOURS_3, _DAYS_7 = timedelta(hours=3), timedelta(days=7)

LETS_ENCRYPT: Mapping[Limit, Rule] = {
    Limit.ACCOUNTS: Rule(10, _HOURS_3),
    Limit.ORDERS: Rule(300, _HOURS_3),
    Limit.DOMAIN: Rule(50, _DAYS_7),
    Limit.EXACT_SET: Rule(5, _DAYS_7),
    Limit.FAILED: Rule(5, timedelta(hours=1)),
}
LETS_ENCRYPT_STAGING: Mapping[Limit, Rule] = {
    Limit.ORDERS: Rule(1500, _HOURS_3),
    Limit.FAILED: Rule(200, timedelta(hours=1)),
}
OTHER: Mapping[Limit, Rule] = {
    # We know nothing about other CAs; these limits only keep a fault of ours from flooding them.
    Limit.ORDERS: Rule(1000, _HOURS_3),
    Limit.FAILED: Rule(60, timedelta(hours=1)),
}
_BY_HOST = {"acme-v02.api.letsencrypt.org": LETS_ENCRYPT, "acme-staging-v02.api.letsencrypt.org": LETS_ENCRYPT_STAGING}


def limits_of(directory_host: str) -> Mapping[Limit, Rule]:
    return _BY_HOST.get(directory_host, OTHER)


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """`is_renewal`: exactly this set of names has had a certificate. `is_replacement`: by ARI it names the certificate
    that it replaces, which lifts every limit at Let's Encrypt. `has_priority`: a person waits, or expiry is near.
    """

    names: tuple[str, ...]
    is_renewal: bool = False
    is_replacement: bool = False
    has_priority: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Try nothing before `until`; `message` names the limit, or whatever else to wait for, for people.

    Where many sites wait for the same room, they spread over the time `crowd`, so that they do not all come back for
    one free place.
    """

    limit: Limit | None
    until: datetime
    message: str
    crowd: timedelta = timedelta()


class Ledger:
    """What one CA's account did, as far back as its limits look. `keep` is called with the events of a key when they
    change. Not thread-safe."""

    def __init__(
        self,
        rules: Mapping[Limit, Rule],
        events: Mapping[str, Iterable[float]] | None = None,
        keep: Callable[[str, list[float]], None] = lambda key, times: None,
    ) -> None:
        self._rules = rules
        self._keep = keep
        self._events = {key: sorted(times) for key, times in (events or {}).items()}

    def find_hold(self, order: PlannedOrder, now: datetime) -> Hold | None:
        """The limit that is free last, or None if there is room for the order now."""
        if order.is_replacement:
            return None
        holds = [hold for hold in self._holds(order, now) if hold is not None]
        return max(holds, key=lambda hold: hold.until, default=None)

    def _holds(self, order: PlannedOrder, now: datetime) -> Iterable[Hold | None]:
        # At the CA, a renewal of the same names is exempt from the first two limits. Counting it towards the order
        # limit anyway costs nothing and spreads the load, but must not let a certificate expire.
        if not (order.is_renewal and order.has_priority):
            spare = 0.0 if order.has_priority else SPARE_FOR_PEOPLE
            yield self._hold(Limit.ORDERS, "", now, "new orders", spare)
        if not order.is_renewal:
            for domain in sorted({registered_domain(name) for name in order.names}):
                yield self._hold(Limit.DOMAIN, domain, now, f"certificates below {domain}")
        yield self._hold(Limit.EXACT_SET, _set_key(order.names), now, "certificates for exactly these names")
        for name in order.names:
            yield self._hold(Limit.FAILED, name, now, f"failed validations of {name}")

    def _hold(self, limit: Limit, key: str, now: datetime, what: str, spare: float = 0.0) -> Hold | None:
        rule = self._rules.get(limit)
        if rule is None:
            return None
        count = max(int(rule.count * (1 - spare)), 1)
        times = self._events.get(f"{limit}:{key}", [])
        since = bisect_right(times, (now - rule.period).timestamp())
        # A clock that was ahead for a while has dated some events too late; they must hold nothing back.
        until = bisect_right(times, now.timestamp())
        if until - since < count:
            return None
        free = datetime.fromtimestamp(times[until - count], UTC) + rule.period
        crowd = rule.period / 2 if limit is Limit.ORDERS else timedelta()
        return Hold(limit, free, f"the CA allows at most {count} {what} in {_text_of(rule.period)}", crowd)

    def find_account_hold(self, now: datetime) -> Hold | None:
        return self._hold(Limit.ACCOUNTS, "", now, "new accounts")

    def note_account(self, now: datetime) -> None:
        self._note(Limit.ACCOUNTS, "", now)

    def note_order(self, now: datetime) -> None:
        self._note(Limit.ORDERS, "", now)

    def note_certificate(self, names: Collection[str], now: datetime) -> None:
        self._note(Limit.EXACT_SET, _set_key(names), now)
        for domain in {registered_domain(name) for name in names}:
            self._note(Limit.DOMAIN, domain, now)

    def note_failed(self, name: str, now: datetime) -> None:
        self._note(Limit.FAILED, name, now)

    def events(self, key: str) -> list[float]:
        """Seconds since the epoch, oldest first."""
        return list(self._events.get(key, ()))

    def learn(self, key: str, times: Iterable[float]) -> None:
        """What others did in the account's name, with what was known of this key before."""
        self._events[key] = sorted(times)

    def _note(self, limit: Limit, key: str, now: datetime) -> None:
        rule = self._rules.get(limit)
        if rule is None:
            return
        whole = f"{limit}:{key}"
        times = self._events.setdefault(whole, [])
        del times[: bisect_right(times, (now - rule.period).timestamp())]
        insort(times, now.timestamp())
        self._keep(whole, list(times))


def registered_domain(name: str) -> str:
    """The registered domain, one label below a public suffix, or the name itself where there is none."""
    labels = name.split(".")
    for position in range(len(labels) - 1, 0, -1):
        if not is_public_suffix(".".join(labels[position - 1 :])):
            return ".".join(labels[position - 1 :])
    return name


def _set_key(names: Collection[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:24]


def _text_of(period: timedelta) -> str:
    if period >= timedelta(days=2):
        return f"{period.days} days"
    hours = period // timedelta(hours=1)
    return "an hour" if hours == 1 else f"{hours} hours"
