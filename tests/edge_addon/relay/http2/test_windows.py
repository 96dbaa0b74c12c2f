"""The receive windows: when they are announced, how they grow and shrink, and who lends for them."""

import pytest
from h2.exceptions import FlowControlError
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.relay.http2.windows import (
    CONNECTION_WINDOW,
    LENT_PER_CONNECTION,
    PADDING,
    PER_CONNECTION,
    STREAM_WINDOW,
    ConnectionWindow,
    Verdict,
    Window,
    decide,
)
from edge_addon.upstream.bounds import Share

KB = 1024


@pytest.mark.parametrize(
    ("elapsed", "paused", "verdict"),
    [
        pytest.param(0.0, 0.0, Verdict.GROW, id="at once"),
        pytest.param(0.06, 0.0, Verdict.GROW, id="in a round trip of 60 ms"),
        pytest.param(0.5, 0.0, Verdict.GROW, id="in a round trip of half a second"),
        pytest.param(0.2, 0.05, Verdict.GROW, id="an upstream that was full for a moment"),
        pytest.param(0.2, 0.06, Verdict.KEEP, id="an upstream that is the slower side"),
        pytest.param(0.2, 0.2, Verdict.KEEP, id="an upstream that was full all the time"),
        pytest.param(0.51, 0.0, Verdict.KEEP, id="a client that does not need more"),
        pytest.param(1.9, 1.9, Verdict.KEEP, id="a slow upstream"),
        pytest.param(2.0, 0.0, Verdict.SHRINK, id="a client that has become slow"),
        pytest.param(300.0, 300.0, Verdict.SHRINK, id="an upstream that stood still"),
    ],
)
def test_a_window_grows_only_when_both_sides_are_fast(elapsed: float, paused: float, verdict: Verdict) -> None:
    assert decide(elapsed, paused) is verdict


@pytest.mark.parametrize(
    ("steps", "announced"),
    [
        pytest.param([(10, 10)], [0], id="a little is not announced"),
        pytest.param([(128 * KB, 128 * KB)], [128 * KB], id="half of the window is"),
        pytest.param([(100 * KB, 100 * KB), (28 * KB, 28 * KB)], [0, 128 * KB], id="in one piece with what was before"),
        pytest.param([(256 * KB, 0), (0, 256 * KB)], [0, 256 * KB], id="nothing before it is taken"),
        pytest.param([(256 * KB, 2 * KB)], [2 * KB], id="a closed window opens with the first KB"),
        pytest.param([(256 * KB, 1023), (0, 1)], [0, 1024], id="but not byte by byte"),
    ],
)
def test_what_was_taken_is_announced_when_it_is_worth_a_frame(
    steps: list[tuple[int, int]], announced: list[int]
) -> None:
    window = Window(STREAM_WINDOW)
    found = []
    for received, taken in steps:
        window.window_consumed(received)
        found.append(window.process_bytes(taken))
    assert found == announced


def test_a_client_that_sends_more_than_it_may_is_found_out() -> None:
    window = Window(STREAM_WINDOW)
    window.window_consumed(STREAM_WINDOW)
    with pytest.raises(FlowControlError):
        window.window_consumed(1)


def test_a_body_whose_end_fits_the_window_gets_no_further_announcement() -> None:
    window = Window(STREAM_WINDOW)
    window.window_consumed(200 * KB)
    window.rest = 56 * KB - PADDING
    assert window.process_bytes(200 * KB) == 0
    window.rest = 57 * KB  # padding has used up some of it
    assert window.due() == KB + PADDING


def test_a_window_grows_at_once_and_shrinks_as_it_is_used() -> None:
    window = Window(STREAM_WINDOW)
    window.window_consumed(STREAM_WINDOW)
    window.grow(STREAM_WINDOW)
    assert window.process_bytes(STREAM_WINDOW) == 2 * STREAM_WINDOW

    window.shrink(STREAM_WINDOW)
    assert (window.max_window_size, window.surplus) == (STREAM_WINDOW, STREAM_WINDOW)
    window.window_consumed(300 * KB)
    assert window.process_bytes(300 * KB) == 0
    assert (window.surplus, window.current_window_size) == (0, 212 * KB)
    window.window_consumed(212 * KB)
    assert window.process_bytes(212 * KB) == 256 * KB


def test_what_shrank_grows_again_without_an_announcement() -> None:
    window = Window(2 * STREAM_WINDOW)
    window.shrink(STREAM_WINDOW)
    window.grow(STREAM_WINDOW)
    assert (window.surplus, window.due()) == (0, 0)
    assert window.current_window_size == window.max_window_size == 2 * STREAM_WINDOW


def test_each_bound_of_a_loan_has_its_own_name() -> None:
    worker, address = Share(3 * KB, "worker"), Share(2 * KB, "address")
    windows = [ConnectionWindow((worker, address)) for _ in range(2)]
    other = ConnectionWindow((worker, Share(2 * KB, "other address")))

    assert ConnectionWindow(()).borrow(LENT_PER_CONNECTION + 1) == PER_CONNECTION
    assert [each.borrow(KB) for each in windows] == ["", ""]
    assert windows[0].borrow(1) == "address"
    assert other.borrow(KB) == ""
    assert other.borrow(1) == "worker"
    assert (worker.lent, address.lent) == (3 * KB, 2 * KB)
    windows[0].close()
    assert (worker.lent, address.lent, other.borrow(KB)) == (2 * KB, KB, "")


def test_a_loan_counts_until_the_client_can_no_longer_use_it() -> None:
    """A client that has been told that it may send more is believed to do so."""
    worker = Share(1 << 20, "worker")
    window = ConnectionWindow((worker,))
    window.borrow(CONNECTION_WINDOW)
    assert window.process_bytes(0) == CONNECTION_WINDOW
    window.shrink(CONNECTION_WINDOW)
    assert worker.lent == CONNECTION_WINDOW
    window.window_consumed(100 * KB)
    window.process_bytes(100 * KB)
    assert worker.lent == CONNECTION_WINDOW - 100 * KB
    window.close()
    assert worker.lent == 0


@given(st.lists(st.tuples(st.sampled_from(["send", "take", "borrow", "shrink"]), st.integers(1, 3 * STREAM_WINDOW))))
def test_no_byte_is_lost_and_none_is_promised_without_a_loan(steps: list[tuple[str, int]]) -> None:
    worker = Share(4 * STREAM_WINDOW, "worker")
    window = ConnectionWindow((worker,))
    client, held = CONNECTION_WINDOW, 0
    """What the client may send, as it knows it."""
    for what, amount in steps:
        match what:
            case "send":
                size = min(amount, client)
                window.window_consumed(size)
                client -= size
                held += size
            case "take":
                size = min(amount, held)
                held -= size
                client += window.process_bytes(size)
            case "borrow":
                window.borrow(amount)
                client += window.process_bytes(0)
            case "shrink":
                window.shrink(min(amount, window.max_window_size - CONNECTION_WINDOW))
        assert client == window.current_window_size
        assert client + held + window._bytes_processed == window.max_window_size + window.surplus
        assert 0 <= worker.lent == window.borrowed <= worker.most
        assert client + held <= CONNECTION_WINDOW + worker.lent
    window.close()
    assert worker.lent == 0
