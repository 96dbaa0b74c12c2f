"""How an order waits for the CA, with a clock that only waiting moves."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
import requests

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.network import OrderFailed
from certstore.acme.order_context import POLLING_LIMIT, Interrupted, OrderContext, PollTimer
from certstore.acme.order_journal import OrderJournal
from certstore.files import clock
from certstore.model.renewal.failure import Cause


class Bench:
    """`stops` makes every wait report that the process is to stop."""

    def __init__(self) -> None:
        self.now = datetime(2027, 3, 1, tzinfo=UTC)
        self.pauses: list[float] = []
        self.stops = False

    def wait(self, seconds: float) -> bool:
        self.sleep(seconds)
        return self.stops

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)

    def timer(self, *, grace: timedelta = timedelta()) -> PollTimer:
        journal, kinds = cast(OrderJournal, None), cast(ChallengeKinds, None)
        context = OrderContext(journal, kinds, self.wait, clock=lambda: self.now, sleep=self.sleep)
        return PollTimer(context, "the CA has been busy", grace=grace)


def wait_on(timer: PollTimer) -> None:
    while True:
        timer.wait(None)


def answer(retry_after: str) -> requests.Response:
    response = requests.Response()
    response.headers["Retry-After"] = retry_after
    return response


def test_pauses_grow_up_to_five_seconds() -> None:
    bench = Bench()
    timer = bench.timer()
    for _ in range(12):
        timer.wait(None)
    assert bench.pauses == sorted(bench.pauses)
    assert (bench.pauses[0], bench.pauses[-1]) == (0.2, 5.0)


@pytest.mark.parametrize(("wanted", "pause"), [(20, 20), (3600, 60), (0, 0.2)])
def test_ca_may_ask_for_a_longer_pause_within_a_minute(wanted: int, pause: float) -> None:
    bench = Bench()
    at = clock.utc_now() + timedelta(hours=1)
    bench.now = at
    bench.timer().wait(answer(f"{at + timedelta(seconds=wanted):%a, %d %b %Y %H:%M:%S GMT}"))
    assert bench.pauses == [pytest.approx(pause, abs=1)]


def test_waiting_ends_as_a_fault_of_the_ca() -> None:
    bench = Bench()
    timer = bench.timer()
    with pytest.raises(OrderFailed, match="busy for more than 5 minutes") as failed:
        wait_on(timer)
    assert failed.value.failure.cause is Cause.CA_ERROR
    assert timedelta(seconds=sum(bench.pauses)) >= POLLING_LIMIT


def test_request_to_stop_interrupts_at_once_or_after_the_grace() -> None:
    bench = Bench()
    bench.stops = True
    with pytest.raises(Interrupted):
        bench.timer().wait(None)
    began = bench.now
    timer = bench.timer(grace=timedelta(seconds=15))
    with pytest.raises(Interrupted):
        wait_on(timer)
    assert bench.now - began >= timedelta(seconds=15)
