"""Having the writer and using it: opened from settings, and verbs performed on it with every failure foreseen.

What control does for its clients and what the command line does without a control process, in one place.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certstore.control.commands.on_store import VERBS, perform
from certstore.control.protocol import Answer, Fault, Request, RequestFailed, Result
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.store.writer import InvalidSite, StoreBusy, StoreWriter

if TYPE_CHECKING:
    from certstore.people.access import Access

logger = logging.getLogger(__name__)

ADMIN_PREFIX = "admin."
"""How the names of verbs on the console's users and tokens begin."""


def acquire_writer(settings: Settings, base: Path) -> StoreWriter:
    """Take the store's lock and open the store; raises VerbFailed, with the pid of whoever writes it already."""
    layout = Layout(base / settings.store)
    try:
        return StoreWriter.acquire(layout.root, keep=settings.archive.keep, keys_group=settings.keys_group)
    except StoreBusy as busy:
        holder = f"process {busy.pid}" if busy.pid is not None else "another process"
        raise RequestFailed(
            Fault.BUSY,
            f"{holder} writes the store {layout.root} and takes no requests",
            "wait until it has ended, or stop it",
        ) from None
    except InvalidSite as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except OSError as error:
        raise _storage_failure(error) from None


def perform_under_lock(settings: Settings, base: Path, request: Request, tell: Callable[[str], None]) -> dict[str, Any]:
    """Be the writer for the time of one verb; raises VerbFailed."""
    with closing(acquire_writer(settings, base)) as writer:
        if request.command in VERBS:
            answer = perform_safely(writer, request, tell)
        elif request.command.startswith(ADMIN_PREFIX):
            answer = _people_once(writer, request)
        else:
            answer = _care_once(writer, settings, base, request, tell)
    if isinstance(answer, Result):
        return answer.facts
    assert isinstance(answer, RequestFailed), "a verb ends in a result or a failure"  # noqa: S101
    raise answer


def perform_safely(writer: StoreWriter, request: Request, tell: Callable[[str], None]) -> Answer:
    """Perform a verb that changes the store; whatever goes wrong is an answer."""
    return answer_safely(request.command, lambda: perform(writer, request.command, request.args, tell))


def _care_once(
    writer: StoreWriter, settings: Settings, base: Path, request: Request, tell: Callable[[str], None]
) -> Answer:
    """A verb of those that wait for networks, by somebody who looks after certificates for its time only."""
    from certstore.control.upkeep import Upkeep  # its imports take as long as most commands

    upkeep = Upkeep(writer, settings, base)
    try:
        upkeep.maintenance.remove_stale()
        return answer_safely(request.command, lambda: upkeep.perform(request.command, request.args, tell))
    finally:
        upkeep.stop()


def _people_once(writer: StoreWriter, request: Request) -> Answer:
    """A verb on the console's users and tokens, which are opened for its time only."""
    from certstore.people.access import Access

    def act() -> dict[str, Any]:
        with Access.opened(writer.layout) as access:
            return perform_people(access, writer, request)

    return answer_safely(request.command, act)


def perform_people(access: Access | None, writer: StoreWriter, request: Request) -> dict[str, Any]:
    """Raises VerbFailed, OSError."""
    from certstore.control.commands.on_people import perform_admin

    if access is None:
        raise RequestFailed(Fault.STORAGE, "users and tokens can't be read or written", "the log of control says why")
    return perform_admin(access, writer.sites(), request.command, request.args)


def answer_safely(command: str, act: Callable[[], dict[str, Any]]) -> Answer:
    """What a verb came to; whatever goes wrong is an answer. Nothing out of a file reaches the log or the answer."""
    try:
        return Result(act())
    except RequestFailed as failure:
        return failure
    except OSError as error:
        storage = _storage_failure(error)
        logger.error("%s: %s", command, storage.found)
        return storage
    except Exception as error:  # noqa: BLE001  one verb's fault must not take the writer away from all others
        # Where, and of what kind; not the message, which may quote what was read.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s: %s at\n%s", command, type(error).__name__, where)
        return RequestFailed(
            Fault.INTERNAL, f"{type(error).__name__} (a fault in certedge itself)", "the log says where"
        )


def _storage_failure(error: OSError) -> RequestFailed:
    """The disk says no: where, why, and what a person can do about it."""
    remedies = {
        errno.ENOSPC: "free some space; what is served has not changed",
        errno.EDQUOT: "free some space; what is served has not changed",
        errno.EROFS: "the store is mounted read-only: mount it writable; what is served has not changed",
        errno.EACCES: "the store's owner has to be able to write everything in it",
    }
    found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return RequestFailed(Fault.STORAGE, found, remedies.get(error.errno or 0, "how everything stands: certedge status"))
