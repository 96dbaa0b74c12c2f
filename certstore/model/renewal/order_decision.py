"""The decisions of one attempt to order: for which names, at which CA, and what state its outcome leaves behind.

They come after `decide_renewal`, which says that an order is due; a `settle_` function closes the attempt. Pure:
preflight findings, the outcome and the time are arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from certstore.model.names import covers
from certstore.model.renewal.decision import RenewalReason, SiteToRenew, is_endangered
from certstore.model.renewal.failure import Failure
from certstore.model.renewal.partial_order import HoldBack, OrderFor, Urgency, select_names
from certstore.model.renewal.rate_limits import Hold, PlannedOrder
from certstore.model.renewal.state import RenewalState

FAILURES_BEFORE_SECOND_CA = 3


def urgency_of(site: SiteToRenew, now: datetime) -> Urgency:
    """A certificate that has expired or does not cover the site's host does not count."""
    live = site.live
    if live is None or now >= live.not_after or not covers(live.dns_names, site.host):
        return Urgency.NONE
    return Urgency.ENDANGERED if is_endangered(live, now) else Urgency.SAFE


def choose_names(site: SiteToRenew, state: RenewalState, fatal: Collection[str], now: datetime) -> OrderFor | HoldBack:
    """`fatal` are the names that must not go to the CA, by the preflight of this attempt."""
    live = site.live
    return select_names(
        site.names,
        fatal=fatal,
        failed=state.failed_names,
        urgency=urgency_of(site, now),
        was_tried=live is not None and state.tried_all_for == live.fingerprint,
    )


def select_ca(state: RenewalState, cas: Sequence[str]) -> str:
    """The first CA, until it has failed so often in a row that the second gets every other attempt."""
    surplus = state.ca_failures - FAILURES_BEFORE_SECOND_CA
    return cas[1] if len(cas) > 1 and surplus >= 0 and surplus % 2 == 0 else cas[0]


def plan_order(
    site: SiteToRenew, names: Sequence[str], now: datetime, *, reason: RenewalReason, replaces: bool
) -> PlannedOrder:
    """What our count of the CA's limits needs to know. `replaces`: the order names the old certificate (ARI)."""
    live = site.live
    return PlannedOrder(
        tuple(names),
        is_renewal=live is not None and set(live.dns_names) == set(names),
        is_replacement=replaces and reason is RenewalReason.SUGGESTED_WINDOW,
        has_priority=reason is RenewalReason.ASKED_FOR or urgency_of(site, now) is Urgency.ENDANGERED,
    )


def settle_hold(site: SiteToRenew, state: RenewalState, hold: Hold, *, fraction: float) -> RenewalState:
    """Nothing was tried, as by our own count the CA would refuse."""
    return state.after_hold(hold.until + hold.crowd * fraction, hold.message, request=site.request)


def settle_failure(
    site: SiteToRenew,
    state: RenewalState,
    failure: Failure,
    now: datetime,
    *,
    reason: RenewalReason,
    order: OrderFor | None,
    fraction: float,
) -> RenewalState:
    """`order` is None where nothing was sent to the CA."""
    if reason is RenewalReason.NAME_RETURNS:
        return state.after_refused_return(now, is_by_ca=order is not None)
    live = site.live
    # The trial counts once the CA has validated the names; a CA that is down has not.
    if order is not None and order.is_trial and live is not None and failure.names:
        state = replace(state, tried_all_for=live.fingerprint)
    return state.after_failure(
        failure,
        now,
        request=site.request,
        lifetime=live.lifetime if live is not None else None,
        fraction=fraction,
        drops_names=_will_drop_names(site, failure, order, now),
    )


def _will_drop_names(site: SiteToRenew, failure: Failure, order: OrderFor | None, now: datetime) -> bool:
    """The next order leaves out the names at fault, so there is no reason to wait long for it."""
    if order is None or not failure.names or site.host in failure.names:
        return False
    return urgency_of(site, now) is not Urgency.SAFE


def settle_success(state: RenewalState, order: OrderFor, now: datetime) -> RenewalState:
    return state.after_success(now, left_out=order.left_out)
