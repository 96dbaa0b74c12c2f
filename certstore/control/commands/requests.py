"""The requests: one frozen value per command, which names the command and the type of its result.

The command line and the console build these values; at the control socket they are parsed from JSON (`from_args`).
Imports no store and no network, because every command of the command line imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import get_original_bases
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, dataclass_transform, get_args

from certstore.control.commands import results
from certstore.control.commands.json_values import decode
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.json_facts import encode
from certstore.model.names import is_site_key
from certstore.model.progress import Tell
from certstore.model.renewal.revocation import RevocationReason

if TYPE_CHECKING:
    from certstore.store.preview import Preview


class CommandRequest[R: results.CommandResult]:
    """A request whose command returns an R or raises RequestFailed."""

    __slots__ = ()
    command: ClassVar[str]
    is_remote: ClassVar[bool]
    """Whether it can come over the control socket."""

    def to_args(self) -> dict[str, Any]:
        """As they go over the control socket."""
        args: dict[str, Any] = encode(self)
        return args

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Self:
        """Raises RequestFailed."""
        return decode(cls, args)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def command[K: CommandRequest[Any]](name: str, *, is_remote: bool = True) -> Callable[[type[K]], type[K]]:
    """Makes the class a frozen dataclass, and the request of the command of this name."""

    def make(kind: type[K]) -> type[K]:
        kind.command, kind.is_remote = name, is_remote
        return dataclass(frozen=True, slots=True)(kind)

    return make


def result_type[R: results.CommandResult](request: CommandRequest[R]) -> type[R]:
    """The type argument of the base of the request's class."""
    kind: type[R] = get_args(get_original_bases(type(request))[0])[0]
    return kind


class Perform(Protocol):
    """Performs a command, in whichever process; raises RequestFailed."""

    def __call__[R: results.CommandResult](self, request: CommandRequest[R], tell: Tell = ...) -> R: ...


@dataclass(frozen=True, slots=True)
class SiteRequest[R: results.CommandResult](CommandRequest[R]):
    """A request about one site. Raises RequestFailed for an invalid key, which could be a path elsewhere."""

    site: str

    def __post_init__(self) -> None:
        if not is_site_key(self.site):
            allowed = "a key is a host name in lower case (xn-- form), or letters a-z, digits and hyphens"
            raise RequestFailed(Fault.INVALID, f"{self.site!r:.100} is not a valid site key", allowed)


# On the store


@command("cert.install")
class InstallRequest(SiteRequest[results.InstallResult]):
    files: tuple[DroppedFile, ...] = field(repr=False)
    password: bytes | None = field(default=None, repr=False)
    force: bool = False


@command("cert.install", is_remote=False)
class InstallPreviewRequest(CommandRequest[results.InstallResult]):
    """Installs files that this process has read already (`StoreWriter.preview`): they are not read again."""

    preview: Preview = field(repr=False)
    force: bool = False


@command("cert.rollback")
class RollbackRequest(SiteRequest[results.InstallResult]):
    """`version` None: the one that was live before."""

    version: int | None = None


@command("site.add")
class AddSiteRequest(SiteRequest[results.SiteResult]):
    """`settings` are keys of site.yaml, unchecked."""

    settings: Mapping[str, Any] = field(default_factory=dict)


@command("site.set")
class SetSiteRequest(SiteRequest[results.SiteResult]):
    """`changes` are keys of site.yaml, unchecked; None, or a key in `unset`, goes back to the default."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    add_names: tuple[str, ...] = ()
    remove_names: tuple[str, ...] = ()


@command("site.adopt")
class AdoptSiteRequest(SiteRequest[results.SiteResult]): ...


@command("site.remove")
class RemoveSiteRequest(SiteRequest[results.RemoveResult]): ...


@command("service.reload")
class ReloadedRequest(CommandRequest[results.ReloadedResult]):
    """The service has applied its settings because somebody asked for it: only for the audit log."""


# With the network


@command("cert.request")
class OrderRequest(SiteRequest[results.OrderResult]):
    """`force`: even if the CA's rate limits, as counted here, seem to be reached. `new_key`: even if the site's
    settings keep it. `detached`: while this node can't ask the others of its cluster."""

    force: bool = False
    new_key: bool = False
    detached: bool = False


@command("cert.revoke")
class RevokeRequest(SiteRequest[results.RevokeResult]):
    """`version` None: the live one. `orders`: before a live certificate is revoked, another one is ordered."""

    version: int | None = None
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    orders: bool = True


@command("cert.renew")
class RenewRequest(CommandRequest[results.RenewResult]):
    """No `sites`: all with `certificate: acme`. `force`: also those that are not due. `ignores_limits`: even if the
    CA's rate limits, as counted here, seem to be reached."""

    sites: tuple[str, ...] = ()
    force: bool = False
    ignores_limits: bool = False


@command("site.preflight")
class PreflightRequest(SiteRequest[results.PreflightResult]): ...


@command("account.show")
class ShowAccountsRequest(CommandRequest[results.AccountsResult]): ...


@command("account.register")
class RegisterAccountsRequest(CommandRequest[results.AccountsResult]):
    agree_to_terms: bool = False


@command("account.rollover")
class RollOverAccountsRequest(CommandRequest[results.AccountsResult]): ...


@command("notify.test")
class TestMailRequest(CommandRequest[results.MailResult]):
    """No `to`: the recipients of warnings."""

    __test__: ClassVar[bool] = False
    to: tuple[str, ...] = ()


@command("cert.import")
class ImportRequest(SiteRequest[results.InstallResult]):
    """A certificate that another program ordered or was given."""

    files: tuple[DroppedFile, ...] = field(repr=False)
    program: str


@command("account.adopt")
class AdoptAccountRequest(CommandRequest[results.AdoptResult]):
    """Another program's account at the CA of `directory`; `key` is PEM."""

    directory: str
    url: str
    key: bytes = field(repr=False)
    contact: tuple[str, ...] = ()


# On the console's users and tokens


@command("admin.user.add")
class AddUserRequest(CommandRequest[results.UserResult]):
    """`replace`: an existing user gets this password, role and sites."""

    name: str
    role: Role
    password: str = field(repr=False)
    sites: tuple[str, ...] = ()
    replace: bool = False


@command("admin.user.list")
class ListUsersRequest(CommandRequest[results.UsersResult]): ...


@command("admin.user.remove")
class RemoveUserRequest(CommandRequest[results.UserResult]):
    name: str


@command("admin.token.add")
class AddTokenRequest(CommandRequest[results.TokenResult]):
    """No `sites`: all. No `ends_at`: valid until removed."""

    name: str
    scope: Scope
    sites: tuple[str, ...] = ()
    ends_at: datetime | None = None


@command("admin.token.list")
class ListTokensRequest(CommandRequest[results.TokensResult]): ...


@command("admin.token.remove")
class RemoveTokenRequest(CommandRequest[results.TokenRemoved]):
    key: str


# On the cluster


@dataclass(frozen=True, slots=True)
class ClusterRequest[R: results.CommandResult](CommandRequest[R]):
    """`section` holds the keys of `cluster:` in edge.yaml, unchecked; relative paths in it start at `base`."""

    section: Mapping[str, Any]
    base: str


@command("cluster.init")
class InitClusterRequest(ClusterRequest[results.MembershipResult]):
    node: str
    listeners: tuple[results.ListenerAddress, ...] = ()


@command("cluster.invite")
class InviteNodeRequest(ClusterRequest[results.InvitationResult]):
    """`addresses` are those of a front, which can't say itself. `again`: a member's machine is set up anew. `client` is
    a certificate with its key for the engine, in PEM, and `username` and `password` sign in there; both empty: this
    node's own, which no front gets.
    """

    node: str
    is_front: bool = False
    addresses: tuple[str, ...] = ()
    again: bool = False
    client: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


@command("cluster.join")
class JoinClusterRequest(ClusterRequest[results.MembershipResult]):
    """`merge`: sites of this node that the cluster does not have become the cluster's."""

    invitation: str = field(repr=False)
    merge: bool = False
    listeners: tuple[results.ListenerAddress, ...] = ()


@command("cluster.status")
class ClusterStatusRequest(ClusterRequest[results.ClusterStatusResult]): ...


@command("cluster.leave")
class LeaveClusterRequest(ClusterRequest[results.MembershipResult]):
    """`node` None: this one. `is_last`: it is known to be the last one, and the cluster ends."""

    node: str | None = None
    is_last: bool = False


@command("cluster.rotate_key")
class RotateKeyRequest(ClusterRequest[results.MembershipResult]): ...


@command("cluster.remove_compromised")
class RemoveCompromisedRequest(ClusterRequest[results.MembershipResult]):
    """Somebody else has what `node` knew."""

    node: str


@command("cluster.rebuild")
class RebuildClusterRequest(ClusterRequest[results.MembershipResult]):
    """Fill the engine again from this node's store."""
