"""Actions on the service as a whole: CA account, notifications, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from certstore.admin.actions.action import Actions, Actor
from certstore.control.commands.on_network import accounts_of
from certstore.control.commands.requests import RegisterAccountsRequest, TestMailRequest
from certstore.model.console.authorization import Action
from certstore.model.layout import WORKER_REPORTS
from certstore.monitoring.worker_reports import SILENT_AFTER, read_report


def show_service(actions: Actions, actor: Actor) -> dict[str, Any]:
    """What edge.yaml says that matters to certificates, and the accounts at the CAs."""
    actions.check(actor, Action.SERVICE_VIEW)
    settings = actions.context.settings
    smtp = settings.notify.smtp
    return {
        "listeners": [{"kind": each.kind.value, "listen": str(each.listen)} for each in settings.listeners],
        "acme": {
            "directory": settings.acme.directory,
            "second_directory": settings.acme.second_directory,
            "agree_to_terms": settings.acme.agree_to_terms,
            "contact": list(settings.acme.contact),
            "key_type": settings.acme.key_type,
            "profile": settings.acme.profile,
        },
        "notify": {
            "to": list(settings.notify.to),
            "from": settings.notify.sender,
            "server": f"{smtp.host}:{smtp.port} ({smtp.security})" if smtp is not None else None,
        },
        "accounts": _accounts(actions),
        "workers": list_workers(actions, actor),
    }


def list_workers(actions: Actions, actor: Actor) -> list[dict[str, Any]]:
    """Those that were heard of lately, and whether each has read everything that was published."""
    actions.check(actor, Action.SERVICE_VIEW)
    layout, now = actions.context.writer.layout, actions.context.clock()
    reports = [read_report(path) for path in sorted(layout.worker_reports.glob(WORKER_REPORTS))]
    journal = layout.snapshot_journal.stat()
    return [
        {
            "pid": report.pid,
            "heard_of": report.at.isoformat(timespec="seconds"),
            "is_draining": report.is_draining,
            "is_up_to_date": report.journal == (journal.st_ino, journal.st_size),
        }
        for report in reports
        if report is not None and now - report.at < SILENT_AFTER
    ]


def _accounts(actions: Actions) -> list[dict[str, Any]]:
    """From disk, without the network; none while orders could not begin."""
    upkeep = actions.context.upkeep()
    if upkeep is None:
        return []
    accounts: list[dict[str, Any]] = accounts_of(upkeep).to_json()["accounts"]
    return accounts


def register_account(actions: Actions, actor: Actor, *, agree_to_terms: bool) -> dict[str, Any]:
    with actions.audited(actor, Action.ACCOUNT_REGISTER, detail="terms agreed to" if agree_to_terms else ""):
        return actions.context.perform(RegisterAccountsRequest(agree_to_terms)).to_json()


def test_notification(actions: Actions, actor: Actor, to: list[str]) -> dict[str, Any]:
    with actions.audited(actor, Action.NOTIFY_TEST) as audited:
        facts = actions.context.perform(TestMailRequest(tuple(to))).to_json()
        audited.detail = f"sent to {', '.join(facts['sent']) or 'nobody'}"
    return facts


def read_audit(
    actions: Actions, actor: Actor, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    actions.check(actor, Action.AUDIT_VIEW)
    return actions.access.audit.page(before, limit)


def export_audit(actions: Actions, actor: Actor) -> Iterator[bytes]:
    with actions.audited(actor, Action.AUDIT_VIEW, detail="exported"):
        return actions.access.audit.export()
