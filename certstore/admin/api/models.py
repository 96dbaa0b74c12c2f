"""The shapes of the API's answers and requests, as in its OpenAPI document, where no result of a command has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from certstore.control.commands.results import TokenFacts
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

HOST = "webmail.client-a.example"
_FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemDocument(BaseModel):
    """RFC 9457. `remedy` says what to do."""

    type: str = Field(examples=["urn:certedge:problem:not_found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=[f"there is no site {HOST}"])
    remedy: str | None = None


class SiteSummary(Shape):
    site: str = Field(examples=[HOST])
    host: str = Field(examples=[HOST])
    names: list[str] = Field(examples=[[HOST, "autodiscover.client-a.example"]])
    source: Source | None
    standing: SiteStatus
    not_before: datetime | None
    not_after: datetime | None
    renews_at: datetime | None = Field(description="When the next order is due, if the certificate is ordered.")
    headline: str = Field(description="The most serious problem; empty if there is none.")
    problems: int


class SiteList(Shape):
    """`main` is null unless you may see it; `total` counts all sites that the query found, on all pages."""

    main: SiteSummary | None
    sites: list[SiteSummary]
    total: int
    offset: int
    standings: dict[SiteStatus, int]


class FindingShape(BaseModel):
    code: str = Field(examples=["missing_intermediate"])
    message: str


class Attempt(BaseModel):
    at: datetime
    doing: str = Field(examples=["renew"])
    outcome: Literal["done", "noted", "refused", "failed"]
    reason: str
    message: str
    version: int | None = None
    next_attempt: datetime | None = None
    source: str | None = None


class RenewalShape(BaseModel):
    """`window_start` and `window_end` are the CA's suggestion (RFC 9773), `explanation_url` is its page about it."""

    due: datetime | None
    reason: str | None
    failures: int
    failing_since: datetime | None
    next_attempt: datetime | None
    cause: str | None
    detail: str | None
    remedy: str | None
    waiting: str | None
    left_out: list[str]
    window_start: datetime | None
    window_end: datetime | None
    explanation_url: str | None


class SiteShape(BaseModel):
    """As in `certedge status --json`, with `standing`, `settings` and `renewal`."""

    site: str = Field(examples=[HOST])
    host: str = Field(examples=[HOST])
    names: list[str]
    source: Source | None
    standing: SiteStatus
    state: str
    version: int | None
    fingerprint: str | None = Field(examples=[_FINGERPRINT])
    dns_names: list[str]
    not_after: datetime | None
    problems: list[FindingShape]
    last_attempt: Attempt | None
    settings: dict[str, Any] = Field(examples=[{"host": HOST, "certificate": "acme"}])
    renewal: RenewalShape | None


class SettingsShape(BaseModel):
    """A complete `site.yaml`; missing keys have their defaults. The rules are those of the file."""

    model_config = ConfigDict(extra="allow")
    host: str
    additional_names: list[str] = []
    certificate: Source | None = None
    contact: list[str] = []


class RevocationShape(BaseModel):
    at: datetime
    reason: str = Field(examples=["superseded"])
    ca: str


class VersionShape(BaseModel):
    version: int
    is_live: bool
    revoked: RevocationShape | None = Field(None, description="That its certificate was revoked at its CA.")
    made_at: datetime
    source: str
    fingerprint: str
    dns_names: list[str]
    not_before: datetime
    not_after: datetime
    issuer: str
    serial: str
    key: str
    problems: list[FindingShape]


class FileShape(Shape):
    name: str = Field(max_length=255, examples=["fullchain.pem"])
    content: str = Field(description="The file's bytes in base64.", repr=False)


class Upload(Shape):
    """Any mixture of PEM, DER and PKCS #12 files, recognized by their content."""

    files: Annotated[list[FileShape], Field(max_length=20)]
    password: str | None = Field(None, description="Opens a PKCS #12 file or an encrypted key.", repr=False)
    force: bool = Field(False, description="Install it even if it has expired, lacks names, or some clients refuse it.")


class PreviewShape(BaseModel):
    accepted: bool
    is_forcible: bool
    certificate: dict[str, Any] | None
    covered: list[str]
    missing: list[str]
    findings: list[dict[str, Any]]


class OrderRequest(Shape):
    force: bool = Field(False, description="Order although the CA's limits, as counted here, are reached.")
    agree_to_terms: bool = Field(False, description="Agree to the CA's terms of service for the whole installation.")


class JobShape(BaseModel):
    id: str
    site: str
    action: str
    state: Literal["running", "done", "failed"]
    begun_at: datetime
    steps: list[dict[str, Any]]
    result: dict[str, Any] | None
    failure: dict[str, Any] | None


class CheckShape(BaseModel):
    listener: str
    kind: str
    server_name: str | None
    certificate: str | None
    version: int | None
    fingerprint: str | None
    served_fingerprint: str | None
    ok: bool
    problem: str | None


class UserRequest(Shape):
    role: Role
    sites: list[str] = []


class Invitation(BaseModel):
    path: str = Field(description="Path of the set-up link, at the console's address. Works once, within three days.")


class TokenRequest(Shape):
    name: str = Field(examples=["monitoring"])
    scope: Scope
    sites: list[str] | None = Field(None, description="Omit for all sites.")
    ends_at: AwareDatetime | None = Field(None, description="Omit for a token that is valid until you remove it.")


class MadeTokenShape(BaseModel):
    token: TokenFacts
    secret: str = Field(description="Shown only this once.", repr=False)


class AuditEntry(BaseModel):
    at: datetime
    who: str
    address: str = Field(alias="from")
    action: str
    site: str | None
    outcome: str
    detail: str


class AuditPage(BaseModel):
    entries: list[AuditEntry]
    before: int | None = Field(description="Send this as `before` for the next, older page; null: there is none.")


class Me(BaseModel):
    who: str
    scope: Scope
    sites: list[str] | None


class Recipients(Shape):
    to: list[str] = Field([], max_length=20, description="Omit for the recipients in edge.yaml.")


class Terms(Shape):
    agree_to_terms: bool = False
