"""Actions that take longer than a request: orders and preflights, begun here and followed as jobs."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

from certstore.admin.actions.action import Actions, Actor
from certstore.admin.live.jobs import Job, JobRequest, LeftOver
from certstore.control.commands.requests import OrderRequest, PreflightRequest, RegisterAccountsRequest
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action
from certstore.model.progress import Tell
from certstore.model.record import Record

FOLLOWED_FOR = timedelta(minutes=10)


def begin_preflight(actions: Actions, actor: Actor, site: str) -> Job:
    actions.entry(actor, Action.SITE_PREFLIGHT, site)
    return _begin(actions, JobRequest(site, Action.SITE_PREFLIGHT.value, actor.who, actor.address))


def begin_order(actions: Actions, actor: Actor, site: str, *, force: bool = False, agree_to_terms: bool = False) -> Job:
    """Order now. `force` goes past limits that we count ourselves; agreeing to the CA's terms is the operator's."""
    actions.entry(actor, Action.CERT_ORDER, site)
    if agree_to_terms:
        actions.check(actor, Action.ACCOUNT_REGISTER)
    options = {"force": force, "agree_to_terms": agree_to_terms}
    return _begin(actions, JobRequest(site, Action.CERT_ORDER.value, actor.who, actor.address, options))


def take_up_left_over(actions: Actions) -> None:
    """At the start: what a restart interrupted goes on, and what is too old or ended too often is on record as that."""
    for left in actions.jobs.left_over():
        job_request = left.job_request
        found = "the service ended while this was under way"
        if left.is_worth_it(actions.context.clock()):
            try:
                _begin(actions, job_request, after=left)
                continue
            except RequestFailed as failure:
                found = failure.found
        actions.access.audit.note(
            job_request.who, job_request.address, job_request.action, job_request.site, "failed", found
        )


def _begin(actions: Actions, job_request: JobRequest, *, after: LeftOver | None = None) -> Job:
    def act(job_request: JobRequest, tell: Tell) -> dict[str, Any]:
        if job_request.action == Action.CERT_ORDER.value:
            return _order(actions, job_request, tell)
        return actions.context.perform(PreflightRequest(job_request.site), tell).to_json()

    def ended(job_request: JobRequest, job: Job) -> None:
        detail = job.failure.found if job.failure is not None else str((job.result or {}).get("message", ""))
        actions.access.audit.note(
            job_request.who, job_request.address, job_request.action, job_request.site, job.state, detail
        )
        actions.index.refresh()

    return actions.jobs.begin(job_request, act, ended, after=after)


def _order(actions: Actions, job_request: JobRequest, tell: Tell) -> dict[str, Any]:
    if job_request.options["agree_to_terms"]:
        actions.context.perform(RegisterAccountsRequest(agree_to_terms=True), tell)
    begun = actions.context.clock()
    try:
        order = OrderRequest(job_request.site, job_request.options["force"])
        return actions.context.perform(order, tell).to_json()
    except RequestFailed as failure:
        if failure.fault is not Fault.BUSY or actions.news.is_closed:
            raise
        tell("an order for this site is under way already: waiting for how it ends")
        return _follow(actions, job_request.site, begun)


def _follow(actions: Actions, site: str, begun: datetime) -> dict[str, Any]:
    """How an order of the maintenance loop ends, which had come first: its record says."""
    waiting = threading.Event()
    while actions.context.clock() - begun < FOLLOWED_FOR and not actions.news.is_closed:
        for record in reversed(actions.context.writer.records(site)):
            if record.doing in ("order", "renew") and record.at >= begun:
                return _followed(site, record)
        waiting.wait(0.5)
    raise RequestFailed(Fault.BUSY, "the order is still under way", "look at the site's attempts in a while")


def _followed(site: str, record: Record) -> dict[str, Any]:
    is_done = record.outcome.value in ("done", "noted")
    facts: dict[str, Any] = {"site": site, "outcome": "done" if is_done else "failed", "message": record.message}
    return facts | {"version": record.version, "cause": record.reason, "findings": []}
