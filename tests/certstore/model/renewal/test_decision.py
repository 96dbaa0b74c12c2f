from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.renewal.decision import (
    Keep,
    LiveCertificate,
    Origin,
    Renew,
    RenewalReason,
    SiteToRenew,
    decide_renewal,
    fraction_of,
    is_endangered,
    next_renewal,
    place_of,
    renewal_instant,
)
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import FRESH, RenewalInfo, RenewalState, SuggestedWindow
from certstore.model.settings.models import Source

BORN = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def live(days: float = 90, origin: Origin = Origin.ACME, names: tuple[str, ...] = ("a.test",)) -> LiveCertificate:
    return LiveCertificate("f1", names, BORN, BORN + days * DAY, origin, "first" if origin is Origin.ACME else None)


def site(certificate: LiveCertificate | None, **changes: object) -> SiteToRenew:
    base = SiteToRenew("a.test", ("a.test",), Source.ACME, certificate, ("first",), "request")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lifetime", "first", "last"),
    [(90, 60, 66), (45, 30, 33), (200, 133.33, 146.67), (6.667, 3.33, 4)],
    ids=["90 days", "45 days", "200 days", "160 hours"],
)
def test_renewal_begins_at_a_third_of_life_left_or_half_of_a_short_one(
    lifetime: float, first: float, last: float
) -> None:
    for fraction, expected in ((0.0, first), (0.999999, last)):
        instant, reason = renewal_instant(live(lifetime), FRESH, fraction)
        assert (instant - BORN) / DAY == pytest.approx(expected, abs=0.01)
        assert reason is RenewalReason.LIFETIME


def test_certificate_is_kept_until_its_instant_and_renewed_from_then_on() -> None:
    assert decide_renewal(site(live()), FRESH, BORN + 59.9 * DAY, fraction=0.0) == Keep(BORN + 60 * DAY)
    assert decide_renewal(site(live()), FRESH, BORN + 60 * DAY, fraction=0.0) == Renew(RenewalReason.LIFETIME)


@pytest.mark.parametrize(
    ("given_site", "expected"),
    [
        (site(None), Renew(RenewalReason.FIRST)),
        (site(live(origin=Origin.FILE)), Renew(RenewalReason.FIRST)),
        (site(live(origin=Origin.IMPORTED)), Keep(BORN + 60 * DAY)),
        (site(replace(live(), is_exposed=True)), Renew(RenewalReason.KEY_EXPOSED)),
        (site(replace(live(origin=Origin.IMPORTED), is_exposed=True)), Renew(RenewalReason.KEY_EXPOSED)),
        (site(live(), cas=("other",)), Renew(RenewalReason.CA_CHANGED)),
        (site(live(), cas=("other", "first")), Keep(BORN + 60 * DAY)),
        (site(live(), names=("a.test", "b.test")), Renew(RenewalReason.NAMES_CHANGED)),
        (site(live(names=("a.test", "b.test"))), Keep(BORN + 60 * DAY)),
        (site(live(origin=Origin.FILE), source=Source.FILE), Keep(None)),
        (site(None, source=Source.MAIN), Keep(None)),
    ],
    ids=[
        "no certificate",
        "a file where acme is wanted",
        "an imported one waits for its time",
        "somebody else has its key",
        "somebody else has an imported key",
        "the CA was changed",
        "issued by the second CA",
        "a name was added",
        "a name was removed",
        "a file certificate is never replaced",
        "main certificate",
    ],
)
def test_what_is_live_decides(given_site: SiteToRenew, expected: Keep | Renew) -> None:
    assert decide_renewal(given_site, FRESH, BORN + DAY, fraction=0.0) == expected


def test_failed_attempt_is_waited_out_unless_the_request_changes() -> None:
    now = BORN + 61 * DAY
    failed = FRESH.after_failure(Failure(Cause.DNS, ""), now, request="request", lifetime=90 * DAY, fraction=0.0)
    assert decide_renewal(site(live()), failed, now, fraction=0.0) == Keep(failed.next_attempt)
    assert decide_renewal(site(live(), request="changed"), failed, now, fraction=0.0) == Renew(RenewalReason.LIFETIME)
    assert failed.next_attempt is not None
    assert isinstance(decide_renewal(site(live()), failed, failed.next_attempt, fraction=0.0), Renew)


def test_failure_while_the_clock_was_years_ahead_does_not_stop_renewal() -> None:
    now, wrong = BORN + 61 * DAY, BORN + 5000 * DAY
    failed = FRESH.after_failure(
        Failure(Cause.CA_UNREACHABLE, ""), wrong, request="request", lifetime=90 * DAY, fraction=0
    )
    failed = failed.after_info("f1", None, wrong, None)
    assert decide_renewal(site(live()), failed, now, fraction=0.0) == Renew(RenewalReason.LIFETIME)
    assert failed.ask_at("f1", now) == now
    left_out = RenewalState(left_out=("b.test",), recheck_at=wrong)
    two = site(live(), names=("a.test", "b.test"))
    assert decide_renewal(two, left_out, BORN + DAY, fraction=0.0) == Renew(RenewalReason.NAME_RETURNS)


def test_name_that_was_left_out_is_checked_again_and_no_reason_to_order_before() -> None:
    two = site(live(), names=("a.test", "b.test"))
    state = RenewalState(left_out=("b.test",), recheck_at=BORN + 2 * DAY)
    assert decide_renewal(two, state, BORN + DAY, fraction=0.0) == Keep(BORN + 2 * DAY)
    assert decide_renewal(two, state, BORN + 2 * DAY, fraction=0.0) == Renew(RenewalReason.NAME_RETURNS)
    third = replace(two, names=("a.test", "b.test", "c.test"))
    assert decide_renewal(third, state, BORN + DAY, fraction=0.0) == Renew(RenewalReason.NAMES_CHANGED)


def with_window(start: float, end: float, fingerprint: str = "f1") -> RenewalState:
    window = SuggestedWindow(BORN + start * DAY, BORN + end * DAY)
    return RenewalState(info=RenewalInfo(fingerprint, BORN + 99 * DAY, window))


@pytest.mark.parametrize(
    ("state", "fraction", "day"),
    [
        (with_window(40, 42), 0.0, 40),
        (with_window(40, 42), 0.5, 41),
        (with_window(1, 3), 0.5, 2),
        (with_window(-9, -3), 0.5, 0.5),
        (with_window(200, 210), 0.5, 80),
        (with_window(42, 40), 0.0, 60),
        (with_window(40, 40), 0.0, 60),
        (with_window(40, 42, "another"), 0.0, 60),
    ],
    ids=[
        "begin of the window",
        "middle of the window",
        "the CA wants it gone early",
        "in the past: now, but not in an endless round",
        "after the end: while there is time to mend",
        "ends before it begins: lifetime decides",
        "empty: lifetime decides",
        "of another certificate: lifetime decides",
    ],
)
def test_suggested_window_decides_where_it_is_sane(state: RenewalState, fraction: float, day: float) -> None:
    instant, reason = renewal_instant(live(), state, fraction)
    assert (instant - BORN) / DAY == pytest.approx(day)
    assert (reason is RenewalReason.SUGGESTED_WINDOW) == (day != 60)


def test_certificate_is_endangered_from_its_warning_window_on() -> None:
    assert not is_endangered(live(), BORN + 84.9 * DAY)
    assert is_endangered(live(), BORN + 85 * DAY)


@given(
    st.floats(0.01, 400),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
)
def test_any_window_leaves_time_to_mend_and_never_renews_a_newborn(
    days: float, fraction: float, window: tuple[float, float] | None
) -> None:
    state = FRESH if window is None else with_window(*window)
    certificate = live(days)
    instant, _ = renewal_instant(certificate, state, fraction)
    assert certificate.not_before + certificate.lifetime / 1000 < instant
    assert instant <= certificate.endangered_from


def test_places_are_stable_and_spread_evenly() -> None:
    assert place_of("a.test") == place_of("a.test")
    places = [place_of(f"site{number}.test") for number in range(2000)]
    assert all(0 <= place < 1 for place in places)
    for tenth in range(10):
        assert 140 < sum(tenth <= place * 10 < tenth + 1 for place in places) < 260


@pytest.mark.parametrize(
    ("certificate", "state", "expected", "at"),
    [
        (None, FRESH, (None, None), None),
        (None, replace(FRESH, next_attempt=BORN + DAY), (None, None), BORN + DAY),
        (live(), replace(FRESH, next_attempt=BORN + DAY), ("due", RenewalReason.LIFETIME), BORN + DAY),
        (live(), FRESH, ("due", RenewalReason.LIFETIME), "due"),
    ],
    ids=["nothing is known", "a first order failed", "a renewal failed", "the certificate's own time"],
)
def test_next_renewal_is_the_waiting_attempt_or_the_certificates_own_time(
    certificate: LiveCertificate | None, state: RenewalState, expected: tuple[object, object], at: object
) -> None:
    due, _ = renewal_instant(live(), FRESH, fraction_of("a.test", live()))
    following = next_renewal("a.test", certificate, state)
    assert (following.due, following.reason) == (due if expected[0] == "due" else None, expected[1])
    assert following.at == (due if at == "due" else at)
