"""The budget of an HTTP/2 client: floods end soon, honest connections never run out."""

import pytest

from edge_addon.relay.http2.budget import ALLOWANCES, BYTES_PER_UPDATE, UPDATES_PER_DATA, Budget, Costly

KINDS = list(Costly)


def spend_all(budget: Budget, kind: Costly, now: float) -> int:
    """Count how often it is allowed."""
    times = 0
    while budget.spend(kind, now):
        times += 1
    return times


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_ends_when_the_first_allowance_is_used_up(kind: Costly) -> None:
    assert spend_all(Budget(0.0), kind, 0.0) == ALLOWANCES[kind].at_first


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_own_allowance(kind: Costly) -> None:
    budget = Budget(0.0)
    spend_all(budget, kind, 0.0)
    assert all(budget.spend(other, 0.0) for other in KINDS if other is not kind)


@pytest.mark.parametrize("kind", KINDS)
def test_work_done_renews_it(kind: Costly) -> None:
    budget = Budget(0.0)
    spend_all(budget, kind, 0.0)
    budget.responses += 10
    assert spend_all(budget, kind, 0.0) == 10 * ALLOWANCES[kind].per_response - 1  # the refused one was counted


@pytest.mark.parametrize("kind", KINDS)
def test_time_renews_it_slowly(kind: Costly) -> None:
    budget = Budget(100.0)
    spend_all(budget, kind, 100.0)
    assert spend_all(budget, kind, 120.0) == int(20 * ALLOWANCES[kind].per_second - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_allowance_grows_beyond_its_maximum(kind: Costly) -> None:
    budget = Budget(0.0)
    budget.responses += 1_000_000
    assert spend_all(budget, kind, 1_000_000.0) == ALLOWANCES[kind].at_most


def test_data_that_was_sent_may_be_acknowledged() -> None:
    budget = Budget(0.0)
    spend_all(budget, Costly.WINDOW, 0.0)
    budget.data_frames += 100
    assert spend_all(budget, Costly.WINDOW, 0.0) == 100 * UPDATES_PER_DATA - 1


def test_every_piece_of_a_large_frame_may_be_acknowledged() -> None:
    budget = Budget(0.0)
    spend_all(budget, Costly.WINDOW, 0.0)
    budget.data_bytes += 100 * BYTES_PER_UPDATE
    assert spend_all(budget, Costly.WINDOW, 0.0) == 100 - 1


def test_a_websocket_that_pings_every_ten_seconds_lives_for_a_week() -> None:
    budget = Budget(0.0)
    assert all(budget.spend(Costly.CONTROL, now) for now in range(0, 7 * 86400, 10))


def test_a_client_that_resets_a_request_every_minute_lives_for_a_week() -> None:
    budget = Budget(0.0)
    assert all(budget.spend(Costly.RESET, now) for now in range(0, 7 * 86400, 60))


def test_a_slow_flood_ends_too() -> None:
    """At twice the rate that time gives back, the allowance is used up in the end."""
    budget = Budget(0.0)
    rate = 2 * ALLOWANCES[Costly.CONTROL].per_second
    times = [number / rate for number in range(10_000)]
    assert not all(budget.spend(Costly.CONTROL, now) for now in times)


def test_a_browser_may_leave_a_page_of_128_requests() -> None:
    budget = Budget(0.0)
    assert all(budget.spend(Costly.RESET, 0.0) for _ in range(128))
