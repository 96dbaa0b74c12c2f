"""Actions that take longer than a request: orders and preflight checks, started here and followed as jobs."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial

from certstore.admin.actions.action import Actions, Actor
from certstore.admin.live.jobs import AT_ONCE, AT_ONCE_PER_CUSTOMER, Act, Job
from certstore.control.commands.requests import OrderRequest, PreflightRequest, RegisterAccountsRequest
from certstore.control.commands.results import OrderOutcome, OrderResult, PreflightResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action
from certstore.model.progress import Tell
from certstore.model.record import Outcome, Record

FOLLOWED_FOR = timedelta(minutes=10)


def start_preflight(actions: Actions, actor: Actor, site: str) -> Job:
    actions.entry(actor, Action.SITE_PREFLIGHT, site)
    act = partial(actions.context.perform, PreflightRequest(site))
    return _start(actions, actor, site, Action.SITE_PREFLIGHT, act)


def start_order(actions: Actions, actor: Actor, site: str, *, force: bool = False, agree_to_terms: bool = False) -> Job:
    """Order now. `force` ignores the CA's limits as counted here. Agreeing to the CA's terms needs the right to
    register an account."""
    actions.entry(actor, Action.CERT_ORDER, site)
    if agree_to_terms:
        actions.check(actor, Action.ACCOUNT_REGISTER)

    def act(tell: Tell) -> OrderResult:
        if agree_to_terms:
            actions.context.perform(RegisterAccountsRequest(agree_to_terms=True), tell)
        return _order(actions, site, tell, force=force)

    return _start(actions, actor, site, Action.CERT_ORDER, act)


def is_order_running(actions: Actions, site: str) -> bool:
    """Whether an order for this site runs now, started by a job, the maintenance loop or the command line."""
    upkeep = actions.context.upkeep()
    return upkeep is not None and upkeep.maintenance.is_ordering(site)


def _start(actions: Actions, actor: Actor, site: str, action: Action, act: Act) -> Job:
    def note(outcome: str, detail: str = "") -> None:
        actions.access.audit.note(actor.who, actor.address, action.value, site, outcome, detail)

    def run(tell: Tell) -> OrderResult | PreflightResult:
        note("started")  # a job that the end of the service interrupts has no outcome to record
        return act(tell)

    def ended(job: Job) -> None:
        note(job.state, job.message)
        actions.index.refresh()

    most = AT_ONCE if actor.grant.sites is None else AT_ONCE_PER_CUSTOMER
    return actions.jobs.start(actor.who, site, action, run, ended, most=most)


def _order(actions: Actions, site: str, tell: Tell, *, force: bool) -> OrderResult:
    started = actions.context.clock()
    try:
        return actions.context.perform(OrderRequest(site, force), tell)
    except RequestFailed as failure:
        if failure.fault is not Fault.BUSY or actions.news.is_closed:
            raise
        tell("an order for this site is already running: waiting for its outcome")
        return _follow(actions, site, started)


def _follow(actions: Actions, site: str, started: datetime) -> OrderResult:
    """The outcome of an order that the maintenance loop started first, from its record."""
    waiting = threading.Event()
    while actions.context.clock() - started < FOLLOWED_FOR and not actions.news.is_closed:
        for record in reversed(actions.context.writer.records(site)):
            if record.doing in ("order", "renew") and record.at >= started:
                return _followed(site, record)
        waiting.wait(0.5)
    raise RequestFailed(Fault.BUSY, "the order is still running", "check the site's attempts in a while")


def _followed(site: str, record: Record) -> OrderResult:
    is_done = record.outcome in (Outcome.DONE, Outcome.NOTED)
    return OrderResult(
        site=site,
        outcome=OrderOutcome.DONE if is_done else OrderOutcome.FAILED,
        findings=(),
        version=record.version,
        message=record.message,
        cause=record.reason,
        next_attempt=record.next_attempt,
    )
