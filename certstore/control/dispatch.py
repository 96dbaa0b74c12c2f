"""Becomes the store's writer: for the life of control or, if none runs, for the duration of one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from certstore.control.audit_trail import entries_of_command, write
from certstore.control.commands.on_network import opened_upkeep
from certstore.control.commands.on_people import People
from certstore.control.commands.requests import CommandRequest
from certstore.control.commands.results import CommandResult
from certstore.control.commands.table import Runs, perform, runs, storage_failure
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.layout import Layout
from certstore.model.progress import Tell
from certstore.model.settings.models import Settings
from certstore.people.access import Access
from certstore.people.audit import Audit
from certstore.store.front_mark import read_front
from certstore.store.writer import InvalidSite, StoreBusy, StoreWriter


def acquire_writer(settings: Settings, base: Path) -> StoreWriter:
    """Take the store's lock and open the store; raises RequestFailed, with the pid of the process that writes it."""
    layout = Layout(base / settings.store)
    try:
        front = read_front(layout) if settings.cluster is not None else None
        return StoreWriter.acquire(
            layout.root, keep=settings.archive.keep, keys_group=settings.keys_group, base=base, front=front
        )
    except StoreBusy as busy:
        holder = f"process {busy.pid}" if busy.pid is not None else "another process"
        raise RequestFailed(
            Fault.BUSY,
            f"{holder} writes the store {layout.root} and accepts no requests",
            "wait until it has ended, or stop it",
        ) from None
    except InvalidSite as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except OSError as error:
        raise storage_failure(error) from None


def perform_under_lock[R: CommandResult](
    settings: Settings, base: Path, request: CommandRequest[R], tell: Tell, who: str
) -> R:
    """Perform one command as the writer, with an entry in the audit log; raises RequestFailed."""
    with closing(acquire_writer(settings, base)) as writer:
        audit = Audit(writer.layout, utc_now)
        outcome: R | RequestFailed
        try:
            with _opened(writer, settings, base, request) as on:
                outcome = perform(on, request, tell)
        except RequestFailed as failure:
            outcome = failure
        except OSError as error:
            outcome = storage_failure(error)
        for entry in entries_of_command(who, request, outcome):
            write(audit, entry)
        if isinstance(outcome, RequestFailed):
            raise outcome
        return outcome


@contextmanager
def _opened(writer: StoreWriter, settings: Settings, base: Path, request: CommandRequest[Any]) -> Iterator[object]:
    """What the command is performed on."""
    match runs(request):
        case Runs.WRITER | Runs.FILES:
            yield writer
        case Runs.NETWORK:
            with opened_upkeep(writer, settings, base) as upkeep:
                yield upkeep
        case Runs.PEOPLE:
            with Access.opened(writer.layout) as access:
                yield People(access, writer)
