"""The results of commands: one frozen value per kind, shared by command line, API and pages.

`to_json` is the form for the control socket, `--json` and the API; `from_json` is its inverse. A refused certificate
and a failed order are results; RequestFailed is raised only if something could not even be tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from certstore.control.commands.json_values import decode
from certstore.model.certificate.findings import Finding
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role, Token, User
from certstore.model.json_facts import Kept
from certstore.model.record import Outcome
from certstore.model.renewal.preflight_facts import PreflightFinding, Severity
from certstore.model.renewal.revocation import RevocationReason
from certstore.model.renewal.ways import NameWay
from certstore.model.selection import Reason
from certstore.model.settings.models import Source


class CommandResult(Kept):
    __slots__ = ()

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Raises RequestFailed if the facts have another shape."""
        return decode(cls, facts)


@dataclass(frozen=True, slots=True)
class Served:
    """What clients that ask for `server_name` over https get from now on; `certificate` is the site it belongs to."""

    server_name: str
    certificate: str
    version: int
    fingerprint: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class InstallResult(CommandResult):
    """A certificate that was installed or refused, or a version made live again. `findings` say why it was refused,
    `problems` belong to an accepted one. `served` is None if the store was not asked."""

    site: str
    outcome: Outcome
    reason: str
    version: int | None
    fingerprint: str | None
    message: str
    findings: tuple[Finding, ...]
    problems: tuple[Finding, ...]
    served: Served | None = None

    @property
    def is_accepted(self) -> bool:
        return self.outcome in (Outcome.DONE, Outcome.NOTED)


@dataclass(frozen=True, slots=True)
class SiteResult(CommandResult):
    """A site that was added or changed. `served` is None if there was nothing to change."""

    site: str
    host: str
    names: tuple[str, ...]
    source: Source
    message: str
    problems: tuple[Finding, ...]
    served: Served | None = None


@dataclass(frozen=True, slots=True)
class RemoveResult(CommandResult):
    """`served` is what clients of its host get now."""

    site: str
    message: str
    served: Served


@dataclass(frozen=True, slots=True)
class ReloadedResult(CommandResult):
    message: str


@dataclass(frozen=True, slots=True)
class PreflightNote:
    """A finding of a preflight. `name` None: it is about the CA or the whole order."""

    code: str
    severity: Severity
    name: str | None
    message: str
    remedy: str

    @classmethod
    def of(cls, finding: PreflightFinding) -> PreflightNote:
        return cls(finding.code, finding.severity, finding.name, finding.message, finding.remedy)


@dataclass(frozen=True, slots=True)
class StandingRecord:
    """A TXT record that proves a name to the CA for good."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class PreflightResult(CommandResult):
    """The more severe findings come first. `ways` says how each name would be proven to the CA, and why;
    `standing_records` are the records of dns-persist-01 where the CA offers it."""

    site: str
    ca: str
    names: tuple[str, ...]
    findings: tuple[PreflightNote, ...]
    ways: tuple[NameWay, ...] = ()
    standing_records: tuple[StandingRecord, ...] = ()


class OrderOutcome(StrEnum):
    """`HELD`: not tried, because the CA's rate limits, as counted here, are reached."""

    DONE = "done"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderResult(CommandResult):
    """The outcome of an order. `version` and `fingerprint` belong to the new certificate, `names` were ordered and
    `left_out` were not; `cause`, `names_at_fault` and `link` belong to a failure (`link` None: there is no page with
    more information). A field that does not apply has its default, and is absent in JSON."""

    site: str
    outcome: OrderOutcome
    findings: tuple[PreflightNote, ...]
    version: int | None = None
    fingerprint: str | None = None
    message: str
    names: tuple[str, ...] | None = None
    left_out: tuple[str, ...] | None = None
    cause: str | None = None
    remedy: str = ""
    names_at_fault: tuple[str, ...] | None = None
    link: str | None = ""
    next_attempt: datetime | None


@dataclass(frozen=True, slots=True)
class RevokeResult(CommandResult):
    """A version that was revoked; `by` is the key of the CA. `served` is what clients of its host get now."""

    site: str
    version: int
    fingerprint: str
    reason: RevocationReason
    by: str
    message: str
    notes: tuple[str, ...]
    served: Served


class Untouched(StrEnum):
    NOT_DUE = "not_due"


@dataclass(frozen=True, slots=True)
class NotDue:
    """A site that is not due. `due` is the instant of its next renewal, or words if there is no such instant."""

    site: str
    outcome: Untouched
    due: str
    message: str


@dataclass(frozen=True, slots=True)
class RenewResult(CommandResult):
    sites: tuple[NotDue | OrderResult, ...]


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """`url` None: there is no account at this CA yet."""

    ca: str
    directory: str
    url: str | None
    contact: tuple[str, ...]
    made_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountsResult(CommandResult):
    """One per configured CA."""

    accounts: tuple[AccountFacts, ...]


class AdoptOutcome(StrEnum):
    """`KEPT`: an account at this CA existed already."""

    ADOPTED = "adopted"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class AdoptResult(CommandResult):
    ca: str
    outcome: AdoptOutcome
    message: str


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    recipient: str
    reason: str


@dataclass(frozen=True, slots=True)
class MailResult(CommandResult):
    sent: tuple[str, ...]
    refused: tuple[RefusedRecipient, ...]


@dataclass(frozen=True, slots=True)
class UserFacts:
    """`sites` empty: all."""

    name: str
    role: Role
    sites: tuple[str, ...]
    has_password: bool
    has_one_time_codes: bool
    made_at: datetime

    @classmethod
    def of(cls, user: User) -> UserFacts:
        made_at = user.made_at.replace(microsecond=0)
        return cls(user.name, user.role, user.sites, bool(user.password_hash), bool(user.totp_secret), made_at)


@dataclass(frozen=True, slots=True)
class UsersResult(CommandResult):
    users: tuple[UserFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserResult(CommandResult):
    """A user who was added, changed or removed; without role and sites if removed."""

    name: str
    role: Role | None = None
    sites: tuple[str, ...] | None = None
    message: str


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """`sites` None: all. `ends_at` None: valid until removed. `used_at`: to about a minute; None: never used."""

    key: str
    name: str
    scope: Scope
    sites: tuple[str, ...] | None
    made_at: datetime
    made_by: str
    ends_at: datetime | None = None
    used_at: datetime | None = None

    @classmethod
    def of(cls, token: Token) -> TokenFacts:
        made_at = token.made_at.replace(microsecond=0)
        used_at = token.used_at.replace(microsecond=0) if token.used_at is not None else None
        return cls(token.key, token.name, token.scope, token.sites, made_at, token.made_by, token.ends_at, used_at)


@dataclass(frozen=True, slots=True)
class TokensResult(CommandResult):
    tokens: tuple[TokenFacts, ...]


@dataclass(frozen=True, slots=True)
class TokenResult(CommandResult):
    """`token` is the text that programs send. It is not stored."""

    key: str
    name: str
    scope: Scope
    sites: tuple[str, ...] | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenRemoved(CommandResult):
    key: str
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class MembershipResult(CommandResult):
    """A node that founded a cluster, joined or left. `notes` are for people: what else to know or to do."""

    cluster: str
    node: str
    message: str
    sites: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InvitationResult(CommandResult):
    """`text` is the invitation, which is not stored."""

    node: str
    expires: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListenerAddress:
    """A listener of a node, for the other nodes."""

    kind: str
    host: str
    port: int
    has_proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A member as the answering node sees it. Facts that a node that is gone can't tell are None. `addresses` are where
    clients reach it, if not at its listeners' own.
    """

    name: str
    role: str
    state: str
    behind: int
    sites: int | None
    release: str | None
    is_caretaker: bool
    problems: tuple[Finding, ...]
    addresses: tuple[str, ...] = ()
    listeners: tuple[ListenerAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One member of the engine. `problem` None: it answers and knows a leader."""

    endpoint: str
    version: str | None
    is_leader: bool
    used_bytes: int | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class ClusterStatusResult(CommandResult):
    """`summary` is one line; `problems` belong to no node in particular."""

    cluster: str
    node: str
    summary: str
    nodes: tuple[NodeFacts, ...]
    engine: tuple[EngineFacts, ...]
    problems: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        return (
            bool(self.problems)
            or any(each.problems for each in self.nodes)
            or any(each.problem for each in self.engine)
        )
