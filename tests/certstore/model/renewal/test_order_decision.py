from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.renewal.decision import LiveCertificate, Origin, RenewalReason, SiteToRenew
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.order_decision import (
    choose_names,
    plan_order,
    select_ca,
    settle_failure,
    settle_hold,
    urgency_of,
)
from certstore.model.renewal.partial_order import HoldBack, OrderFor, Urgency
from certstore.model.renewal.rate_limits import Hold, Limit
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import Source

BORN = datetime(2027, 3, 1, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LIVE = LiveCertificate("f1", ("a.test", "b.test"), BORN, BORN + 90 * DAY, Origin.ACME, "first")
SITE = SiteToRenew("a.test", ("a.test", "b.test"), Source.ACME, LIVE, ("first",), "request")
REFUSED = Failure(Cause.CONNECTION, "refused", ("b.test",))


@pytest.mark.parametrize(
    ("site", "day", "expected"),
    [
        (SITE, 84, Urgency.SAFE),
        (SITE, 85, Urgency.ENDANGERED),
        (SITE, 90, Urgency.NONE),
        (replace(SITE, live=None), 1, Urgency.NONE),
        (replace(SITE, live=replace(LIVE, dns_names=("other.test",))), 1, Urgency.NONE),
        (replace(SITE, live=replace(LIVE, dns_names=("*.test",))), 1, Urgency.SAFE),
    ],
    ids=["young", "in its last days", "ended", "there is none", "it does not cover the host", "a wildcard covers it"],
)
def test_how_the_present_certificate_stands(site: SiteToRenew, day: int, expected: Urgency) -> None:
    assert urgency_of(site, BORN + day * DAY) is expected


def settle(state: RenewalState, failure: Failure, order: OrderFor | None, day: float = 86) -> RenewalState:
    now = BORN + day * DAY
    return settle_failure(SITE, state, failure, now, reason=RenewalReason.LIFETIME, order=order, fraction=0.0)


def test_trial_that_the_ca_refused_is_followed_at_once_by_an_order_without_the_name() -> None:
    now = BORN + 86 * DAY
    trial = choose_names(SITE, FRESH, ["b.test"], now)
    assert trial == OrderFor(("a.test", "b.test"), is_trial=True)
    state = settle(replace(FRESH, failures=7, request="request"), REFUSED, trial)
    assert state.tried_all_for == "f1"
    assert state.next_attempt == now + MINUTE
    assert choose_names(SITE, state, [], now) == OrderFor(("a.test",), ("b.test",))


def test_trial_that_the_ca_did_not_judge_is_no_trial() -> None:
    trial = OrderFor(("a.test", "b.test"), is_trial=True)
    state = settle(FRESH, Failure(Cause.CA_ERROR, "500"), trial)
    assert state.tried_all_for is None
    assert choose_names(SITE, state, ["b.test"], BORN + 86 * DAY) == trial


def test_trial_of_an_older_certificate_does_not_count() -> None:
    state = replace(FRESH, tried_all_for="f0")
    chosen = choose_names(SITE, state, [], BORN + 86 * DAY)
    assert isinstance(chosen, OrderFor)
    assert chosen.is_trial


def test_host_at_fault_gets_no_hurry() -> None:
    host_refused = Failure(Cause.CONNECTION, "refused", ("a.test", "b.test"))
    state = settle(replace(FRESH, failures=4, request="request"), host_refused, OrderFor(("a.test", "b.test")))
    assert state.next_attempt == BORN + 87 * DAY


def test_safe_certificate_gets_no_hurry() -> None:
    state = settle(replace(FRESH, failures=4, request="request"), REFUSED, OrderFor(("a.test", "b.test")), day=60)
    assert state.next_attempt == BORN + 61 * DAY
    assert isinstance(choose_names(SITE, state, [], BORN + 61 * DAY), OrderFor)
    assert choose_names(SITE, state, ["b.test"], BORN + 61 * DAY) == HoldBack(("b.test",))


@pytest.mark.parametrize(("order", "hours"), [(None, 1), (OrderFor(("a.test",)), 24)], ids=["preflight", "the CA"])
def test_name_that_does_not_come_back_fails_nothing(order: OrderFor | None, hours: int) -> None:
    now = BORN + DAY
    state = settle_failure(SITE, FRESH, REFUSED, now, reason=RenewalReason.NAME_RETURNS, order=order, fraction=0.0)
    assert state == replace(FRESH, recheck_at=now + timedelta(hours=hours))


def test_crowd_before_a_full_limit_spreads() -> None:
    hold = Hold(Limit.ORDERS, BORN, "full", crowd=timedelta(hours=1))
    assert settle_hold(SITE, FRESH, hold, fraction=0.5).next_attempt == BORN + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("ca_failures", "expected"), [(0, "first"), (2, "first"), (3, "second"), (4, "first"), (5, "second")]
)
def test_second_ca_gets_every_other_attempt_after_three_failures(ca_failures: int, expected: str) -> None:
    state = replace(FRESH, ca_failures=ca_failures)
    assert select_ca(state, ("first", "second")) == expected
    assert select_ca(state, ("first",)) == "first"


def test_planned_order_knows_what_it_is_exempt_from() -> None:
    same = plan_order(SITE, ["b.test", "a.test"], BORN, reason=RenewalReason.SUGGESTED_WINDOW, replaces=True)
    assert (same.is_renewal, same.is_replacement, same.has_priority) == (True, True, False)
    by_lifetime = plan_order(SITE, ["a.test"], BORN, reason=RenewalReason.LIFETIME, replaces=True)
    assert (by_lifetime.is_renewal, by_lifetime.is_replacement) == (False, False)
    assert plan_order(SITE, ["a.test"], BORN, reason=RenewalReason.ASKED_FOR, replaces=False).has_priority
    late = BORN + 86 * DAY
    assert plan_order(SITE, ["a.test"], late, reason=RenewalReason.LIFETIME, replaces=False).has_priority
