"""Jobs: how they end, what runs at the same time, and what a stop leaves."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from certstore.admin.live.jobs import AT_ONCE, AT_ONCE_PER_CUSTOMER, Job, Jobs
from certstore.control.commands.results import OrderOutcome, OrderResult, PreflightResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action
from certstore.model.progress import Tell
from tests.certstore.stores import OTHER, SITE
from tests.deadlines import wait_for

ANNA, BOB = "user anna", "user bob"


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs(lambda: datetime.now(UTC), lambda: None)
    yield jobs
    jobs.stop()


def order(outcome: OrderOutcome) -> OrderResult:
    return OrderResult(site=SITE, outcome=outcome, findings=(), message="how it went", next_attempt=None)


def refuse(tell: Tell) -> OrderResult:
    raise RequestFailed(Fault.BUSY, "not now")


def stumble(tell: Tell) -> OrderResult:
    raise ZeroDivisionError("a secret")


@pytest.mark.parametrize(
    ("act", "state", "message"),
    [
        (lambda tell: order(OrderOutcome.DONE), "done", "how it went"),
        (lambda tell: order(OrderOutcome.FAILED), "failed", "how it went"),
        (lambda tell: order(OrderOutcome.HELD), "failed", "how it went"),
        (lambda tell: PreflightResult(SITE, "https://ca.test", (SITE,), ()), "done", ""),
        (refuse, "failed", "not now"),
        (stumble, "failed", "ZeroDivisionError (a fault in certedge itself)"),
    ],
    ids=["issued", "not issued", "held back", "checked", "not tried", "a bug"],
)
def test_job_ends_in_the_state_of_its_result(
    jobs: Jobs, act: Callable[[Tell], OrderResult | PreflightResult], state: str, message: str
) -> None:
    ended: list[Job] = []
    job = jobs.start(ANNA, SITE, Action.CERT_ORDER, act, ended.append)
    wait_for(lambda: ended, "the end of the job")
    assert (job.is_over, job.state, job.message) == (True, state, message)
    assert job.to_json()["state"] == state
    assert jobs.running(SITE) == []


def test_same_action_runs_once_for_a_site_and_jobs_are_bounded(jobs: Jobs) -> None:
    may_end, ended = threading.Event(), list[Job]()

    def act(tell: Tell) -> OrderResult:
        assert may_end.wait(30)
        return order(OrderOutcome.DONE)

    jobs.start(ANNA, SITE, Action.CERT_ORDER, act, ended.append)
    with pytest.raises(RequestFailed, match="already running"):
        jobs.start(ANNA, SITE, Action.CERT_ORDER, act, ended.append)
    jobs.start(ANNA, SITE, Action.SITE_PREFLIGHT, act, ended.append)
    for number in range(AT_ONCE - 2):
        jobs.start(ANNA, f"{number}.test", Action.CERT_ORDER, act, ended.append)
    with pytest.raises(RequestFailed, match="try again in a minute"):
        jobs.start(ANNA, OTHER, Action.CERT_ORDER, act, ended.append)
    may_end.set()
    wait_for(lambda: len(ended) == AT_ONCE, "the end of all jobs")


def test_job_that_a_stop_interrupts_has_not_failed(jobs: Jobs) -> None:
    may_end, ended, returned = threading.Event(), list[Job](), threading.Event()

    def act(tell: Tell) -> OrderResult:
        assert may_end.wait(30)
        returned.set()
        raise RequestFailed(Fault.BUSY, "the control process is ending")

    job = jobs.start(ANNA, SITE, Action.CERT_ORDER, act, ended.append)
    jobs.stop()
    may_end.set()
    assert returned.wait(30)
    jobs._threads.shutdown(wait=True)
    assert (job.state, ended) == ("running", [])


def test_a_customers_jobs_leave_room_for_others(jobs: Jobs) -> None:
    going, ended = threading.Event(), list[Job]()

    def act(tell: Tell) -> OrderResult:
        going.wait(30)
        return order(OrderOutcome.DONE)

    for number in range(AT_ONCE_PER_CUSTOMER):
        jobs.start(ANNA, f"{number}.test", Action.CERT_ORDER, act, ended.append, most=AT_ONCE_PER_CUSTOMER)
    with pytest.raises(RequestFailed, match="of your orders"):
        jobs.start(ANNA, SITE, Action.CERT_ORDER, act, ended.append, most=AT_ONCE_PER_CUSTOMER)
    jobs.start(BOB, SITE, Action.CERT_ORDER, act, ended.append, most=AT_ONCE_PER_CUSTOMER)
    going.set()
    wait_for(lambda: len(ended) == AT_ONCE_PER_CUSTOMER + 1, "the end of all jobs")
