"""Actions on the service: its settings and state, the CA account, test mails, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Any

from certstore.admin.actions.action import Actions, Actor
from certstore.control.commands.on_network import accounts_of
from certstore.control.commands.requests import RegisterAccountsRequest, TestMailRequest
from certstore.control.commands.results import AccountFacts, AccountsResult, MailResult
from certstore.model.certificate.findings import Finding
from certstore.model.console.authorization import Action
from certstore.model.layout import WORKER_REPORTS
from certstore.model.settings.models import Settings
from certstore.model.unloadable import Unloadable
from certstore.monitoring.service_problems import current_service_problems
from certstore.monitoring.worker_reports import SILENT_AFTER, read_report
from certstore.people.audit_selection import AuditSelection


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that has reported recently. `is_up_to_date`: it has read everything that was published."""

    pid: int
    reported_at: datetime
    is_draining: bool
    is_up_to_date: bool
    unloadable: tuple[Unloadable, ...] = ()

    @property
    def serves_latest(self) -> bool:
        return self.is_up_to_date and not self.unloadable


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """`accounts` is empty if orders could not start; `release` is this process's."""

    settings: Settings
    accounts: tuple[AccountFacts, ...]
    workers: tuple[WorkerFacts, ...]
    problems: tuple[Finding, ...] = ()
    release: str = ""


def show_service(actions: Actions, actor: Actor) -> ServiceFacts:
    """edge.yaml, the accounts at the CAs (from disk, without the network), and the workers."""
    actions.check(actor, Action.SERVICE_VIEW)
    upkeep = actions.context.upkeep()
    accounts = accounts_of(upkeep).accounts if upkeep is not None else ()
    workers, problems = list_workers(actions, actor), list_problems(actions, actor)
    return ServiceFacts(actions.context.settings, accounts, workers, problems, _release())


def _release() -> str:
    """Empty in a tree that was never installed."""
    try:
        return metadata.version("mitmproxy-edge")
    except metadata.PackageNotFoundError:
        return ""


def list_problems(actions: Actions, actor: Actor) -> tuple[Finding, ...]:
    """What is wrong with the service beside its certificates."""
    actions.check(actor, Action.SERVICE_VIEW)
    return current_service_problems(actions.context.writer.layout, actions.context.clock())


def list_workers(actions: Actions, actor: Actor) -> tuple[WorkerFacts, ...]:
    actions.check(actor, Action.SERVICE_VIEW)
    layout, now = actions.context.writer.layout, actions.context.clock()
    reports = [read_report(path) for path in sorted(layout.worker_reports.glob(WORKER_REPORTS))]
    journal = layout.snapshot_journal.stat()
    return tuple(
        WorkerFacts(
            report.pid,
            report.at,
            report.is_draining,
            report.journal == (journal.st_ino, journal.st_size),
            report.unloadable,
        )
        for report in reports
        if report is not None and now - report.at < SILENT_AFTER
    )


def register_account(actions: Actions, actor: Actor, *, agree_to_terms: bool) -> AccountsResult:
    with actions.audited(actor, Action.ACCOUNT_REGISTER, detail="terms agreed to" if agree_to_terms else ""):
        return actions.context.perform(RegisterAccountsRequest(agree_to_terms))


def send_test_mail(actions: Actions, actor: Actor, to: list[str]) -> MailResult:
    with actions.audited(actor, Action.NOTIFY_TEST) as audited:
        result = actions.context.perform(TestMailRequest(tuple(to)))
        audited.detail = f"sent to {', '.join(result.sent) or 'nobody'}"
    return result


def read_audit(
    actions: Actions, actor: Actor, before: int | None, limit: int, chosen: AuditSelection | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    actions.check(actor, Action.AUDIT_VIEW)
    return actions.access.audit.page(before, limit, chosen)


def export_audit(actions: Actions, actor: Actor) -> Iterator[bytes]:
    with actions.audited(actor, Action.AUDIT_VIEW, detail="exported"):
        return actions.access.audit.export()
