"""What renewal remembers about a site between attempts and over restarts, and how each outcome changes it.

Values in, values out. Knows nothing of files, clocks or the CA.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from certstore.model.json_facts import Kept
from certstore.model.renewal.backoff import select_next_attempt
from certstore.model.renewal.failure import Failure
from certstore.model.renewal.ways import NameWay, WayFailure

ASK_AGAIN_SHORTEST = timedelta(minutes=1)
ASK_AGAIN_LONGEST = timedelta(days=1)
ASK_AGAIN_AFTER_ERROR = timedelta(hours=6)
"""RFC 9773 §4.3: the bounds of the CA's Retry-After, and the wait where there is none."""

RECHECK_AFTER_PREFLIGHT = timedelta(hours=1)
RECHECK_AFTER_ORDER = timedelta(days=1)
"""A name that was left out is checked again hourly, or daily once the CA itself has refused it."""


class SuggestedWindow(NamedTuple):
    """When the CA suggests to renew (RFC 9773 §4.2). `explanation_url` is a page for the administrator."""

    start: datetime
    end: datetime
    explanation_url: str | None = None

    @property
    def is_valid(self) -> bool:
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """The CA's last answer about one certificate: when to ask again, and its window, None where it gave none."""

    fingerprint: str
    ask_at: datetime
    window: SuggestedWindow | None = None


@dataclass(frozen=True, slots=True)
class RenewalState(Kept):
    """`failures` counts those in a row since `failing_since`. The live certificate lacks the names in `left_out`.

    `failed_names` are those that the CA refused in this row of failures. `waiting` gives the reason where an attempt is
    held back until `next_attempt` without a failure. `tried_all_for` is the certificate in whose warning window an
    order with every name was made. `ca_failures` counts failures in a row that lie with the CA. `attempted_at` is the
    instant of the last attempt that failed or left names out. `key_is_spent`: the live key must not be used again.
    `ways` is how each name is proven, by the last attempt; `failed_ways` outlasts successes.
    """

    failures: int = 0
    failing_since: datetime | None = None
    failure: Failure | None = None
    next_attempt: datetime | None = None
    request: str = ""
    failed_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    recheck_at: datetime | None = None
    tried_all_for: str | None = None
    ca_failures: int = 0
    info: RenewalInfo | None = None
    waiting: str = ""
    attempted_at: datetime | None = None
    key_is_spent: bool = False
    ways: tuple[NameWay, ...] = ()
    failed_ways: tuple[WayFailure, ...] = ()

    def window_for(self, fingerprint: str) -> SuggestedWindow | None:
        return self.info.window if self.info is not None and self.info.fingerprint == fingerprint else None

    def ask_at(self, fingerprint: str, now: datetime) -> datetime:
        """When to ask the CA for its window: at once for a certificate that it was never asked about, or where the
        stored time lies so far ahead that the clock must have been wrong."""
        info = self.info
        is_known = info is not None and info.fingerprint == fingerprint and info.ask_at <= now + ASK_AGAIN_LONGEST
        return info.ask_at if info is not None and is_known else now

    def after_failure(
        self,
        failure: Failure,
        now: datetime,
        *,
        request: str,
        lifetime: timedelta | None,
        fraction: float,
        drops_names: bool = False,
    ) -> RenewalState:
        """`drops_names`: the next order will have fewer names, so backoff starts at its first step again."""
        failures = self.failures + 1 if request == self.request else 1
        step = 1 if drops_names else failures
        return replace(
            self,
            failures=failures,
            failing_since=self.failing_since if self.failures else now,
            failure=failure,
            next_attempt=select_next_attempt(
                step, now, fraction=fraction, lifetime=lifetime, retry_after=failure.retry_after
            ),
            request=request,
            failed_names=tuple(dict.fromkeys((*(self.failed_names if failures > 1 else ()), *failure.names))),
            waiting="",
            ca_failures=self.ca_failures + 1 if failure.is_at_ca else 0,
            attempted_at=now,
        )

    def after_hold(self, until: datetime, reason: str, *, request: str) -> RenewalState:
        """Not a failure: by our own count the CA's limit has no room before `until`."""
        return replace(self, next_attempt=until, waiting=reason, request=request)

    def after_refused_return(self, now: datetime, *, is_by_ca: bool) -> RenewalState:
        """A name that was left out could not be added. The certificate stays valid, so this is not a failure."""
        return replace(self, recheck_at=now + (RECHECK_AFTER_ORDER if is_by_ca else RECHECK_AFTER_PREFLIGHT))

    def after_success(self, now: datetime, *, left_out: Collection[str] = ()) -> RenewalState:
        """The new certificate's window is not known yet."""
        return RenewalState(
            left_out=tuple(left_out),
            recheck_at=now + RECHECK_AFTER_PREFLIGHT if left_out else None,
            attempted_at=now if left_out else None,
            ways=self.ways,
            failed_ways=tuple(replace(each, is_past=True) for each in self.failed_ways),
        )

    def after_info(
        self, fingerprint: str, window: SuggestedWindow | None, now: datetime, retry_after: timedelta | None
    ) -> RenewalState:
        """`window` is the CA's answer; where it is None, the last known window stays."""
        wait = ASK_AGAIN_AFTER_ERROR if retry_after is None else retry_after
        wait = min(max(wait, ASK_AGAIN_SHORTEST), ASK_AGAIN_LONGEST)
        return replace(self, info=RenewalInfo(fingerprint, now + wait, window or self.window_for(fingerprint)))


FRESH = RenewalState()
"""The state of a site for which nothing has been tried."""
