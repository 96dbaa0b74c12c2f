"""Puts into the audit log what no person did in the console: commands, with the Unix user, and what the service did by
itself, because of a file or of the time.

Every attempt of the store's writer passes here; those of commands and of the console are left out, as they are noted as
such. What comes before the log is open waits, and a thread writes it: no drop has to wait for the disk.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from certstore.control.commands import results
from certstore.control.commands.requests import CommandRequest, SiteRequest
from certstore.control.commands.table import COMMANDS, is_performing
from certstore.control.protocol import RequestFailed
from certstore.model.record import Outcome, Record
from certstore.people.audit import Audit

LOCAL = "local"
_ACTIONS = {
    "intake": "cert.install",
    "import": "cert.install",
    "order": "cert.order",
    "renew": "cert.order",
    "rollback": "cert.activate",
    "mend": "cert.activate",
}
_OF_SETTINGS = {"added": "site.add", "removed": "site.remove"}
_BY_TIME = frozenset({"order", "renew", "mend"})
_NOTED = frozenset({Outcome.DONE, Outcome.REFUSED})
"""A failed attempt changed nothing and is made again, as often as it takes: the site's records have it."""


@dataclass(frozen=True, slots=True)
class Entry:
    who: str
    address: str
    action: str
    site: str | None
    outcome: str
    detail: str


class AuditTrail:
    """Used from several threads. Until `attach`, entries wait."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def attach(self, audit: Audit) -> None:
        """Write to this log from now on."""
        self._thread = threading.Thread(target=self._run, args=(audit,), name="audit-trail", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left. Nothing may be noted any more."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def note_record(self, site: str, record: Record) -> None:
        """An attempt of the store's writer, in the thread that makes it."""
        if (entry := entry_of_record(site, record)) is not None and not is_performing():
            self._queue.put(entry)

    def note(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._queue.put(entry)

    def _run(self, audit: Audit) -> None:
        while (entry := self._queue.get()) is not None:
            write(audit, entry)


def write(audit: Audit, entry: Entry) -> None:
    audit.note(entry.who, entry.address, entry.action, entry.site, entry.outcome, entry.detail)


def settings_applied(config: str) -> Entry:
    """The service runs with a changed edge.yaml, whoever had it read."""
    return Entry("service", config, "settings.apply", None, "done", "the service runs with the changed file")


def entry_of_record(site: str, record: Record) -> Entry | None:
    """What the service did by itself; None where nothing changed."""
    settings = _OF_SETTINGS.get(record.reason, "site.change") if record.doing == "settings" else None
    action = _ACTIONS.get(record.doing, settings)
    if record.outcome not in _NOTED or action is None:
        return None
    who = "renewal" if record.doing in _BY_TIME else f"files of {site}"
    return Entry(who, record.source or "", action, site, record.outcome.value, record.message)


def entries_of_command(
    who: str, request: CommandRequest[Any], outcome: results.CommandResult | RequestFailed
) -> Iterator[Entry]:
    """What a command changed, or failed to change; none for one that only reads."""
    action = COMMANDS[type(request)].action
    if action is None:
        return
    site = request.site if isinstance(request, SiteRequest) else None
    match outcome:
        case RequestFailed():
            yield Entry(who, LOCAL, action, site, "failed", outcome.found)
        case results.RenewResult():
            for each in outcome.sites:
                if isinstance(each, results.OrderResult):
                    yield Entry(who, LOCAL, action, each.site, each.outcome.value, each.message)
        case results.InstallResult() | results.OrderResult():
            yield Entry(who, LOCAL, action, site, outcome.outcome.value, outcome.message)
        case results.TokenResult():
            yield Entry(who, LOCAL, action, None, "done", f"{outcome.name} ({outcome.key}), scope {outcome.scope}")
        case _:
            yield Entry(who, LOCAL, action, site, "done", str(getattr(outcome, "message", "")))
