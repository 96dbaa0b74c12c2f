"""Actions that take longer than a request: orders and preflights, begun here and followed as jobs."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

from certstore.admin.actions.action import Actor, Desk
from certstore.admin.context import Tell
from certstore.admin.live.jobs import Errand, Job, LeftOver
from certstore.control.protocol import Fault, VerbFailed
from certstore.model.console.authorization import Action
from certstore.model.record import Record

FOLLOWED_FOR = timedelta(minutes=10)


def begin_preflight(desk: Desk, actor: Actor, site: str) -> Job:
    desk.entry(actor, Action.SITE_PREFLIGHT, site)
    return _begin(desk, Errand(site, Action.SITE_PREFLIGHT.value, actor.who, actor.address))


def begin_order(desk: Desk, actor: Actor, site: str, *, force: bool = False, agree_to_terms: bool = False) -> Job:
    """Order now. `force` goes past limits that we count ourselves; agreeing to the CA's terms is the operator's."""
    desk.entry(actor, Action.CERT_ORDER, site)
    if agree_to_terms:
        desk.check(actor, Action.ACCOUNT_REGISTER)
    options = {"force": force, "agree_to_terms": agree_to_terms}
    return _begin(desk, Errand(site, Action.CERT_ORDER.value, actor.who, actor.address, options))


def take_up_left_over(desk: Desk) -> None:
    """At the start: what a restart interrupted goes on, and what is too old or ended too often is on record as that."""
    for left in desk.jobs.left_over():
        errand = left.errand
        found = "the service ended while this was under way"
        if left.is_worth_it(desk.around.clock()):
            try:
                _begin(desk, errand, after=left)
                continue
            except VerbFailed as failure:
                found = failure.found
        desk.access.audit.note(errand.who, errand.address, errand.action, errand.site, "failed", found)


def _begin(desk: Desk, errand: Errand, *, after: LeftOver | None = None) -> Job:
    def act(errand: Errand, tell: Tell) -> dict[str, Any]:
        if errand.action == Action.CERT_ORDER.value:
            return _order(desk, errand, tell)
        return desk.around.perform("site.preflight", {"site": errand.site}, tell)

    def ended(errand: Errand, job: Job) -> None:
        detail = job.failure.found if job.failure is not None else str((job.result or {}).get("message", ""))
        desk.access.audit.note(errand.who, errand.address, errand.action, errand.site, job.state, detail)
        desk.index.refresh()

    return desk.jobs.begin(errand, act, ended, after=after)


def _order(desk: Desk, errand: Errand, tell: Tell) -> dict[str, Any]:
    if errand.options["agree_to_terms"]:
        desk.around.perform("account.register", {"agree_to_terms": True}, tell)
    begun = desk.around.clock()
    try:
        return desk.around.perform("cert.request", {"site": errand.site, "force": errand.options["force"]}, tell)
    except VerbFailed as failure:
        if failure.fault is not Fault.BUSY or desk.news.is_closed:
            raise
        tell("an order for this site is under way already: waiting for how it ends")
        return _follow(desk, errand.site, begun)


def _follow(desk: Desk, site: str, begun: datetime) -> dict[str, Any]:
    """How an order of the maintenance loop ends, which had come first: its record says."""
    waiting = threading.Event()
    while desk.around.clock() - begun < FOLLOWED_FOR and not desk.news.is_closed:
        for record in reversed(desk.around.writer.records(site)):
            if record.doing in ("order", "renew") and record.at >= begun:
                return _followed(site, record)
        waiting.wait(0.5)
    raise VerbFailed(Fault.BUSY, "the order is still under way", "look at the site's attempts in a while")


def _followed(site: str, record: Record) -> dict[str, Any]:
    is_done = record.outcome.value in ("done", "noted")
    facts: dict[str, Any] = {"site": site, "outcome": "done" if is_done else "failed", "message": record.message}
    return facts | {"version": record.version, "cause": record.reason, "findings": []}
