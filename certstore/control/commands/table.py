"""Every command: what performs it and where it runs; the one way to perform one; and what each error becomes.

Control's socket, the console and the command line come through `perform`. Knows no sockets and no JSON.
"""

from __future__ import annotations

import errno
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

from certstore.control.commands import on_cluster, on_keys, on_network, on_people, on_revocation, on_store, requests
from certstore.control.commands.requests import CommandRequest, SiteRequest
from certstore.control.commands.results import CommandResult
from certstore.control.protocol import Fault, Request, RequestFailed
from certstore.model.console.people import InvalidPerson
from certstore.model.progress import Tell, tell_nobody
from certstore.model.settings.loading import SettingsError
from certstore.people.tokens import UnknownToken
from certstore.people.users import UnknownUser
from certstore.store.writer import InvalidSite, NotWritable, StoreWriter, TooBusy, UnknownSite, UnknownVersion

logger = logging.getLogger(__name__)


class Runs(Enum):
    """Where a command runs, and so what it is performed on."""

    WRITER = "writer"
    """On the store's writer, on its one thread."""
    FILES = "files"
    """On the store's writer, on any other thread: it opens files, which may take seconds."""
    NETWORK = "network"
    """On the upkeep, on any other thread: it may wait for minutes."""
    PEOPLE = "people"
    """On users and tokens, on any other thread."""


@dataclass(frozen=True, slots=True)
class Command:
    """`act` gets what the command is performed on (StoreWriter, Upkeep or People: `runs`), its request, and `tell`.

    `action` is its name in the audit log; None for one that changes nothing, or that only the console gives. `needs`
    are modules that it imports by itself when it runs. `changes_sites`: what it does would have to reach all nodes of a
    cluster, so a front refuses it.
    """

    act: Callable[[Any, Any, Tell], CommandResult]
    runs: Runs
    action: str | None = None
    needs: tuple[str, ...] = ()
    changes_sites: bool = False


_CLUSTER = tuple(f"certstore.cluster.{name}" for name in ("access", "joining", "membership", "replica"))
_KEYS = (*_CLUSTER, "certstore.cluster.rotation")


COMMANDS: Mapping[type[CommandRequest[Any]], Command] = {
    requests.InstallRequest: Command(on_store.install, Runs.FILES, "cert.install", changes_sites=True),
    requests.InstallPreviewRequest: Command(on_store.install_preview, Runs.WRITER, changes_sites=True),
    requests.RollbackRequest: Command(on_store.rollback, Runs.WRITER, "cert.activate", changes_sites=True),
    requests.AddSiteRequest: Command(on_store.add_site, Runs.WRITER, "site.add", changes_sites=True),
    requests.SetSiteRequest: Command(on_store.set_site, Runs.WRITER, "site.change", changes_sites=True),
    requests.AdoptSiteRequest: Command(on_store.adopt_site, Runs.WRITER, "site.adopt", changes_sites=True),
    requests.RemoveSiteRequest: Command(on_store.remove_site, Runs.WRITER, "site.remove", changes_sites=True),
    requests.ReloadedRequest: Command(on_store.reloaded, Runs.FILES, "service.reload"),
    requests.OrderRequest: Command(on_network.order, Runs.NETWORK, "cert.order", changes_sites=True),
    requests.RevokeRequest: Command(on_revocation.revoke, Runs.NETWORK, "cert.revoke", changes_sites=True),
    requests.RenewRequest: Command(on_network.renew, Runs.NETWORK, "cert.order", changes_sites=True),
    requests.PreflightRequest: Command(on_network.preflight, Runs.NETWORK),
    requests.ShowAccountsRequest: Command(on_network.show_accounts, Runs.NETWORK),
    requests.RegisterAccountsRequest: Command(
        on_network.register_accounts, Runs.NETWORK, "account.register", changes_sites=True
    ),
    requests.RollOverAccountsRequest: Command(
        on_network.roll_over_accounts, Runs.NETWORK, "account.rollover", changes_sites=True
    ),
    requests.TestMailRequest: Command(on_network.send_test_mail, Runs.NETWORK, "notify.test"),
    requests.ImportRequest: Command(on_network.import_certificate, Runs.NETWORK, "cert.install", changes_sites=True),
    requests.AdoptAccountRequest: Command(on_network.adopt_account, Runs.NETWORK, "account.adopt", changes_sites=True),
    requests.AddUserRequest: Command(on_people.add_user, Runs.PEOPLE, "user.add"),
    requests.ListUsersRequest: Command(on_people.list_users, Runs.PEOPLE),
    requests.RemoveUserRequest: Command(on_people.remove_user, Runs.PEOPLE, "user.remove"),
    requests.AddTokenRequest: Command(on_people.add_token, Runs.PEOPLE, "token.add"),
    requests.ListTokensRequest: Command(on_people.list_tokens, Runs.PEOPLE),
    requests.RemoveTokenRequest: Command(on_people.remove_token, Runs.PEOPLE, "token.remove"),
    requests.InitClusterRequest: Command(on_cluster.init, Runs.FILES, "cluster.init", _CLUSTER),
    requests.InviteNodeRequest: Command(on_cluster.invite, Runs.FILES, "cluster.invite", _CLUSTER),
    requests.JoinClusterRequest: Command(on_cluster.join, Runs.FILES, "cluster.join", _CLUSTER),
    requests.ClusterStatusRequest: Command(on_cluster.status, Runs.FILES, needs=_CLUSTER),
    requests.LeaveClusterRequest: Command(on_cluster.leave, Runs.FILES, "cluster.leave", _CLUSTER),
    requests.RotateKeyRequest: Command(on_keys.rotate_key, Runs.FILES, "cluster.rotate_key", _KEYS),
    requests.RemoveCompromisedRequest: Command(on_keys.remove_compromised, Runs.FILES, "cluster.remove", _KEYS),
    requests.RebuildClusterRequest: Command(on_cluster.rebuild, Runs.FILES, "cluster.rebuild", _CLUSTER),
}
_performing = threading.local()
_BY_NAME = {kind.command: kind for kind in COMMANDS if kind.is_remote}


def parse(request: Request) -> CommandRequest[Any]:
    """What came over the control socket, as the value that a command takes. Raises RequestFailed."""
    kind = _BY_NAME.get(request.command)
    if kind is None:
        found = f"there is no command {request.command!r:.60}; the commands are: {', '.join(_BY_NAME)}"
        raise RequestFailed(Fault.BAD_REQUEST, found)
    return kind.from_args(request.args)


def runs(request: CommandRequest[Any]) -> Runs:
    return COMMANDS[type(request)].runs


def load(request: CommandRequest[Any]) -> None:
    """Import everything that the command needs, for a process that won't be able to read the installation."""
    for module in COMMANDS[type(request)].needs:
        import_module(module)


def perform[R: CommandResult](on: object, request: CommandRequest[R], tell: Tell = tell_nobody) -> R:
    """Perform a command on what `runs` says. Raises RequestFailed and nothing else."""
    _performing.depth = getattr(_performing, "depth", 0) + 1
    try:
        command = COMMANDS[type(request)]
        if command.changes_sites and (front := _writer_of(on).front) is not None:
            raise RequestFailed(Fault.REFUSED, front.found, front.remedy)
        result: R = command.act(on, request, tell)  # type: ignore[assignment]  # by the table
        return result
    except RequestFailed:
        raise
    except Exception as error:  # noqa: BLE001  a fault in one command must not stop the writer for all others
        raise _failure(request, error) from None
    finally:
        _performing.depth -= 1


def _writer_of(on: Any) -> StoreWriter:
    """Of everything that a command is performed on: `Runs`."""
    writer: StoreWriter = on if isinstance(on, StoreWriter) else on.writer
    return writer


def is_performing() -> bool:
    """Whether this thread performs a command now: what it changes, the command changes."""
    return bool(getattr(_performing, "depth", 0))


def _failure(request: CommandRequest[Any], error: Exception) -> RequestFailed:
    """The one place where errors become messages. None quotes the contents of a file."""
    site = request.site if isinstance(request, SiteRequest) else ""
    match error:
        case UnknownSite():
            remedy = "see: certedge site list, certedge site add"
            return RequestFailed(Fault.NOT_FOUND, f"there is no site {error.site}", remedy)
        case UnknownVersion():
            return RequestFailed(Fault.NOT_FOUND, str(error), f"see: certedge cert history {site}")
        case UnknownUser() | UnknownToken():
            return RequestFailed(Fault.NOT_FOUND, str(error), "to list them: the command `list` of the same group")
        case InvalidSite() | InvalidPerson():
            return RequestFailed(Fault.INVALID, str(error))
        case SettingsError():
            return invalid_settings(error)
        case NotWritable():
            return RequestFailed(Fault.STORAGE, str(error))
        case TooBusy():
            return RequestFailed(Fault.BUSY, str(error), "try again when they have been read")
        case OSError():
            failure = storage_failure(error)
            logger.error("%s: %s", request.command, failure.found)
            return failure
    if runs(request) is Runs.NETWORK and (foreseen := _network_failure(error)) is not None:
        return foreseen
    # The place and the kind, not the message, which could quote what was read.
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %s at\n%s", request.command, type(error).__name__, where)
    return RequestFailed(Fault.INTERNAL, f"{type(error).__name__} (a fault in certedge itself)", "the log says where")


def _network_failure(error: Exception) -> RequestFailed | None:
    # If one of these was raised, its module is loaded already; other commands start faster without them.
    from certstore.acme.network import OrderFailed
    from certstore.acme.order_context import Interrupted
    from certstore.notify.channel import ChannelFailed
    from certstore.renewal.loop import SiteBusy
    from certstore.renewal.order_sharing import OrderNotAllowed

    match error:
        case SiteBusy():
            found = f"an order for {error} is already running"
            return RequestFailed(Fault.BUSY, found, f"to see its outcome: certedge site show {error}")
        case OrderNotAllowed():
            return RequestFailed(Fault.BUSY, str(error), error.remedy)
        case Interrupted():
            found = "the control process is stopping; the order is resumed when it runs again"
            return RequestFailed(Fault.BUSY, found, "to see its outcome: certedge status")
        case OrderFailed():
            return RequestFailed(Fault.REFUSED, error.failure.detail, error.failure.remedy)
        case ChannelFailed():
            return RequestFailed(Fault.UNREACHABLE, str(error), "correct `notify` in edge.yaml: certedge docs acme")
    return None


def invalid_settings(error: SettingsError) -> RequestFailed:
    """The faults without file and line: these settings do not come from a file."""
    faults = [
        f"{fault.key or 'settings'}: {fault.found}" + (f"; allowed: {fault.allowed}" if fault.allowed else "")
        for fault in error.faults
    ]
    return RequestFailed(Fault.INVALID, "\n".join(faults))


def storage_failure(error: OSError) -> RequestFailed:
    """What the disk refused, where, and what you can do about it."""
    remedies = {
        errno.ENOSPC: "free some space; what is served has not changed",
        errno.EDQUOT: "free some space; what is served has not changed",
        errno.EROFS: "the store is mounted read-only: mount it writable; what is served has not changed",
        errno.EACCES: "the store's owner needs write access to everything in it",
    }
    found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return RequestFailed(
        Fault.STORAGE, found, remedies.get(error.errno or 0, "to see the state of every site: certedge status")
    )
