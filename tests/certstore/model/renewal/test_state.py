import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import FRESH, RenewalInfo, RenewalState, SuggestedWindow

NOW = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNREACHABLE = Failure(Cause.CA_UNREACHABLE, "no connection")

instants = st.integers(1_500_000_000, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
names = st.lists(st.sampled_from(["a.test", "b.test", "c.test"]), unique=True).map(tuple)
failures = st.builds(
    Failure, st.sampled_from(Cause), st.text(), names, st.none() | instants, st.none() | st.just("https://ca.test/x")
)
windows = st.builds(SuggestedWindow, instants, instants, st.none() | st.text())
states = st.builds(
    RenewalState,
    failures=st.integers(0, 99),
    failing_since=st.none() | instants,
    failure=st.none() | failures,
    next_attempt=st.none() | instants,
    request=st.text(),
    failed_names=names,
    left_out=names,
    recheck_at=st.none() | instants,
    tried_all_for=st.none() | st.just("f1"),
    ca_failures=st.integers(0, 9),
    info=st.none() | st.builds(RenewalInfo, st.text(min_size=1), instants, st.none() | windows),
    waiting=st.text(),
)


@given(states)
def test_state_survives_being_written_down(state: RenewalState) -> None:
    assert RenewalState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_fresh_state_is_written_as_nothing() -> None:
    assert FRESH.to_json() == {}


def fail(state: RenewalState, failure: Failure = UNREACHABLE, at: datetime = NOW, request: str = "r") -> RenewalState:
    return state.after_failure(failure, at, request=request, lifetime=None, fraction=0.0)


def test_failures_in_a_row_keep_their_beginning() -> None:
    state = fail(fail(FRESH), at=NOW + HOUR)
    assert (state.failures, state.failing_since) == (2, NOW)
    assert state.next_attempt == NOW + HOUR + timedelta(minutes=10)


def test_changed_request_starts_the_steps_anew() -> None:
    state = fail(fail(fail(FRESH)), request="other")
    assert (state.failures, state.next_attempt) == (1, NOW + timedelta(minutes=1))


def test_names_at_fault_gather_over_a_row_of_failures_and_go_with_it() -> None:
    first = fail(FRESH, Failure(Cause.CONNECTION, "", ("b.test",)))
    second = fail(first, Failure(Cause.CONNECTION, "", ("c.test",)))
    assert second.failed_names == ("b.test", "c.test")
    assert fail(second, request="other").failed_names == ()


def test_only_failures_in_a_row_at_the_ca_count_for_the_second_ca() -> None:
    twice = fail(fail(FRESH))
    assert twice.ca_failures == 2
    assert fail(twice, Failure(Cause.CONNECTION, "", ("a.test",))).ca_failures == 0


def test_success_forgets_everything_but_the_names_left_out() -> None:
    state = fail(FRESH).after_success(NOW, left_out=("b.test",))
    assert state == RenewalState(left_out=("b.test",), recheck_at=NOW + HOUR, attempted_at=NOW)
    assert fail(FRESH).after_success(NOW) == FRESH


def test_hold_is_no_failure() -> None:
    state = FRESH.after_hold(NOW + HOUR, "300 orders in 3 hours", request="r")
    assert (state.failures, state.next_attempt, state.waiting) == (0, NOW + HOUR, "300 orders in 3 hours")
    assert fail(state).waiting == ""


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        (timedelta(seconds=1), timedelta(minutes=1)),
        (2 * HOUR, 2 * HOUR),
        (timedelta(days=30), timedelta(days=1)),
        (None, 6 * HOUR),
    ],
    ids=["too soon", "as asked", "too late", "an error"],
)
def test_renewal_info_is_asked_for_again_within_bounds(retry_after: timedelta | None, waited: timedelta) -> None:
    state = FRESH.after_info("f1", SuggestedWindow(NOW, NOW + HOUR), NOW, retry_after)
    assert state.ask_at("f1", NOW) == NOW + waited
    assert state.ask_at("another", NOW) == NOW


def test_last_known_window_holds_while_the_ca_does_not_answer() -> None:
    window = SuggestedWindow(NOW, NOW + HOUR)
    state = FRESH.after_info("f1", window, NOW, HOUR).after_info("f1", None, NOW + HOUR, None)
    assert state.window_for("f1") == window
    assert state.window_for("f2") is None
