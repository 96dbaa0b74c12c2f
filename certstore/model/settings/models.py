"""The models of `edge.yaml` and `site.yaml`: all keys, what is allowed, and the defaults.

Models are frozen and can only be built valid. `loading` turns text into a model, and adds file and line to what is
reported here. Paths stay as written: the code that opens one resolves it against the folder of the file.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from certstore.model.challenge import ChallengeType
from certstore.model.names import is_public_suffix
from certstore.model.settings.addresses import (
    CertificateName,
    HostName,
    HostPort,
    HostPortField,
    NetworkField,
    domain_name,
)
from certstore.model.settings.base import Model
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.dns import DnsSettings
from certstore.model.settings.mail_address import check_contacts, parse_address, parse_sender
from certstore.model.settings.response_headers import check_headers, parse_header_name, parse_header_value

ACME_DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}


class Source(StrEnum):
    """Where a site's certificate comes from (`certificate:` in site.yaml)."""

    FILE = "file"
    ACME = "acme"
    MAIN = "main"


AddressField = Annotated[str, BeforeValidator(parse_address)]
SenderField = Annotated[str, BeforeValidator(parse_sender)]
HeaderName = Annotated[str, AfterValidator(parse_header_name)]
HeaderValue = Annotated[str, AfterValidator(parse_header_value)]


class ListenerKind(StrEnum):
    """The protocol of a listener, with its usual port. Those that end in `s` use TLS from the first byte."""

    usual_port: int
    is_mail: bool
    is_implicit_tls: bool
    is_clear_text: bool
    """Connections never become TLS."""

    def __new__(cls, name: str, usual_port: int = 0) -> Self:  # looking a kind up needs no port
        kind = str.__new__(cls, name)
        kind._value_, kind.usual_port = name, usual_port
        # Not properties: each connection asks several times.
        kind.is_clear_text = name in ("http", "health")
        kind.is_mail = not kind.is_clear_text and name != "https"
        kind.is_implicit_tls = name.endswith("s")
        return kind

    HTTP = "http", 80
    HTTPS = "https", 443
    IMAP = "imap", 143
    IMAPS = "imaps", 993
    POP3 = "pop3", 110
    POP3S = "pop3s", 995
    SMTP = "smtp", 25
    LMTP = "lmtp", 24
    SUBMISSION = "submission", 587
    SUBMISSIONS = "submissions", 465
    SIEVE = "sieve", 4190
    HEALTH = "health", 8081

    @property
    def offers_starttls(self) -> bool:
        return self.is_mail and not self.is_implicit_tls


class UpstreamTls(StrEnum):
    """`AS_CLIENT`: STARTTLS exactly where the client uses TLS, so that the mail server knows, logs and judges it."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"
    AS_CLIENT = "as_client"

    def begins_starttls(self, *, is_client_secure: bool) -> bool:
        return self is UpstreamTls.STARTTLS or (self is UpstreamTls.AS_CLIENT and is_client_secure)


class ProxyProtocol(StrEnum):
    V1 = "v1"
    V2 = "v2"


class ListenerSettings(Model):
    """One listening address. A mail listener names its own upstream; http and https relay to their site's."""

    kind: ListenerKind
    listen: HostPortField
    upstream: HostPortField | None = None
    upstream_tls: UpstreamTls = UpstreamTls.NONE
    upstream_ca_file: Path | None = None
    upstream_name: CertificateName | None = None
    """The name that the upstream's certificate must cover, where it is not the host of `upstream`."""
    proxy_protocol: ProxyProtocol | None = None
    accept_proxy_protocol: bool = False

    @cached_property
    def label(self) -> str:
        """How metrics name it: its kind and address."""
        return f"{self.kind.value} {self.listen}"

    @model_validator(mode="after")
    def _no_lmtp_on_the_port_of_smtp(self) -> Self:
        if self.kind is ListenerKind.LMTP and self.listen.port == 25:
            raise ValueError("LMTP must not be used on port 25 (RFC 2033); its usual port is 24")
        return self

    @model_validator(mode="after")
    def _upstream_fits_kind(self) -> Self:
        if self.kind.is_mail and self.upstream is None:
            raise ValueError(
                f"a listener of kind {self.kind} needs `upstream: host:port`, the address of its mail server"
            )
        if not self.kind.is_mail:
            given = [name for name in self.model_fields_set if name.startswith("upstream") or name == "proxy_protocol"]
            if given:
                raise ValueError(
                    f"`{given[0]}` is only for mail listeners; {self.kind} relays to the upstream of each site"
                )
        return self


class Upstream(Model):
    """A web server behind the edge: `http://host:port`, `https://host:port` (verified) or `unix:/path`."""

    url: str
    ca_file: Path | None = None
    name: CertificateName | None = None
    """The name that the server's certificate must cover, where it is not the host of `url`."""
    client_cert: Path | None = None
    health: str | None = None
    """The target of the GET that checks whether the server works; only where there are several servers."""

    @field_validator("health")
    @classmethod
    def _health(cls, target: str | None) -> str | None:
        if target is not None and not (
            target.startswith("/") and target.isascii() and target.isprintable() and " " not in target
        ):
            raise ValueError("expected a path, for example /health")
        return target

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        if url.startswith("unix:"):
            if not url.removeprefix("unix:").startswith("/"):
                raise ValueError("expected unix:/absolute/path for a Unix socket")
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("expected http://host:port or https://host:port, without a path, or unix:/absolute/path")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("expected a URL without user name, query and fragment")
        _ = parts.port  # raises ValueError when it is out of range
        return url

    @model_validator(mode="after")
    def _name_is_verified(self) -> Self:
        if self.name is not None and not self.is_tls:
            raise ValueError("`name` is only for https:// servers: no other shows a certificate")
        return self

    @property
    def unix_path(self) -> str | None:
        return self.url.removeprefix("unix:") if self.url.startswith("unix:") else None

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def address(self) -> HostPort:
        """Host and port of an http or https upstream."""
        parts = urlsplit(self.url)
        return HostPort(parts.hostname or "", parts.port or (443 if self.is_tls else 80))


def _upstream_list(value: object) -> object:
    """One server or a list of them, each a URL or the long form."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple({"url": item} if isinstance(item, str) else item for item in items)


Upstreams = Annotated[tuple[Upstream, ...], BeforeValidator(_upstream_list), Field(min_length=1)]


class TlsSettings(Model):
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    unknown_name: Literal["main", "reject"] = "main"
    shared_sites: int = Field(100, ge=0, le=1000)
    """Sites whose TLS sessions resume on any worker; those of main always do."""
    key_cache_bytes: int = Field(32 << 20, ge=1 << 20, le=1 << 32)
    """Memory of a worker for certificates and keys in use; a site takes about 8 KB."""


class HttpSettings(Model):
    redirect_to_https: bool = True
    http2: bool = True
    hsts: str | None = None
    headers: dict[HeaderName, HeaderValue] = Field({})
    unknown_challenge: Literal["not_found", "upstream"] = "not_found"

    @field_validator("hsts")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("expected the value of the Strict-Transport-Security header, one line of ASCII")
        return value

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        check_headers(headers)
        return headers

    @property
    def own_fields(self) -> tuple[tuple[str, str], ...]:
        """Names and values of the fields that every answer over https gets, in place of the upstream's."""
        hsts = (("Strict-Transport-Security", self.hsts),) if self.hsts else ()
        return (*hsts, *self.headers.items())


LONGEST_SECONDS = 1_000_000
"""The longest time in edge.yaml, eleven days: loops and timers can't count to infinity."""


class Limits(Model):
    """Sizes in bytes, times in seconds. The idle limits allow for ActiveSync pings (59 min) and IMAP IDLE (29 min)."""

    header_bytes: int = Field(65536, ge=1024, le=1 << 20)
    handshake_seconds: float = Field(10, gt=0, le=LONGEST_SECONDS)
    head_seconds: float = Field(20, gt=0, le=LONGEST_SECONDS)
    idle_seconds: float = Field(3900, gt=0, le=LONGEST_SECONDS)
    mail_idle_seconds: float = Field(2100, gt=0, le=LONGEST_SECONDS)
    drain_seconds: float = Field(60, ge=0, le=LONGEST_SECONDS)
    connections: int = Field(20000, ge=1)
    """All limits of connections count those of all workers together."""
    connections_per_address: int = Field(500, ge=1)
    """Connections of one IPv4 address, or of one IPv6 network of 64 bits."""
    connections_per_network: int = Field(4000, ge=1)
    """Connections of one IPv6 network of 48 bits, which is what providers give to one customer."""
    http2_streams: int = Field(100, ge=1, le=1000)
    """Requests that one HTTP/2 connection may have under way."""
    upstream_connections: int = Field(20000, ge=1)
    """Connections in use at the same time in one worker, to the web servers of one site."""
    upstream_connections_per_address: int | None = Field(None, ge=1)
    """Those in use in one worker for clients of one address; None: as many as `connections_per_address`."""


def _challenges(given: tuple[ChallengeType, ...] | None) -> tuple[ChallengeType, ...] | None:
    if given is not None and (not given or len(set(given)) < len(given)):
        raise ValueError(
            f"list at least one of {', '.join(ChallengeType)}, and each only once, in the order to try them"
        )
    return given


Challenges = Annotated[tuple[ChallengeType, ...] | None, AfterValidator(_challenges)]
"""The ways to prove names, in the order to try them. None: what a preflight finds open, of the usual ones."""

KeyType = Literal["ec256", "ec384", "rsa2048", "rsa3072", "rsa4096", "ec256+rsa2048"]


class ExternalAccount(Model):
    key_id: str
    hmac_key_file: Path


class AcmeSettings(Model):
    directory: str = "letsencrypt"
    ca_file: Path | None = None
    contact: tuple[AddressField, ...] = ()
    agree_to_terms: bool = False
    profile: str | None = None
    key_type: KeyType = "ec256"
    reuse_key: bool = False
    """Whether renewals keep the key, for TLSA records that name it (3 1 1)."""
    preferred_chain: str | None = None
    external_account: ExternalAccount | None = None
    second_directory: str | None = None
    resolver: HostPortField | None = None
    challenges: Challenges = None
    dns: DnsSettings | None = None
    probe_private: bool = False
    """Whether preflights may ask private addresses too, because names have such addresses inside your network."""

    @field_validator("directory", "second_directory")
    @classmethod
    def _directory(cls, value: str | None) -> str | None:
        if value is not None and value not in ACME_DIRECTORIES and not value.startswith("https://"):
            raise ValueError(f"expected {', '.join(ACME_DIRECTORIES)} or an https:// URL")
        return value


class SmtpSettings(Model):
    host: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: str | None = None
    password_file: Path | None = None


class WebhookSettings(Model):
    """Where to POST each warning as a JSON document, and the secret that signs it."""

    url: str
    secret_file: Path
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        expected = "expected an https:// URL without a user name or blanks (http:// only to this machine)"
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError(expected) from None  # the library's message quotes the URL, which may be a secret
        is_local = parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")
        is_clean = value.isprintable() and " " not in value
        if not host or not is_clean or not (parts.scheme == "https" or is_local) or "@" in parts.netloc:
            raise ValueError(expected)
        return value


class NotifySettings(Model):
    smtp: SmtpSettings | None = None
    webhook: WebhookSettings | None = None
    sender: SenderField | None = Field(None, alias="from")
    to: tuple[AddressField, ...] = ()
    templates: Path | None = None
    """A folder whose files replace those of the same name in certstore/notify/templates."""


class AdminSettings(Model):
    listen: HostPortField = HostPort("127.0.0.1", 8443)
    public_host: HostName | None = None


class ArchiveSettings(Model):
    keep: int = Field(10, ge=2)


class InspectionSettings(Model):
    scripts: tuple[Path, ...] = ()


class AccessLogSettings(Model):
    path: Path | None = None
    format: Literal["json", "combined"] = "json"


class Settings(Model):
    """The whole of `edge.yaml`."""

    store: Path = Path("store")
    upstream: Upstreams = (Upstream(url="http://127.0.0.1:8080"),)
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    listeners: tuple[ListenerSettings, ...] = ()
    tls: TlsSettings = TlsSettings()
    http: HttpSettings = HttpSettings()
    trusted_proxies: tuple[NetworkField, ...] = ()
    inspection: InspectionSettings = InspectionSettings()
    limits: Limits = Limits()
    acme: AcmeSettings = AcmeSettings()
    notify: NotifySettings = NotifySettings()
    admin: AdminSettings = AdminSettings()
    archive: ArchiveSettings = ArchiveSettings()
    keys_group: str | None = None
    sweep_seconds: float = Field(60, gt=0, le=LONGEST_SECONDS)
    access_log: AccessLogSettings = AccessLogSettings()
    cluster: ClusterSettings | None = None

    @model_validator(mode="after")
    def _one_listener_per_address(self) -> Self:
        seen: dict[HostPort, ListenerKind] = {}
        for listener in self.listeners:
            if listener.listen.port and listener.listen in seen:
                raise ValueError(
                    f"two listeners have the address {listener.listen}: {seen[listener.listen]} and {listener.kind}"
                )
            seen[listener.listen] = listener.kind
        return self


NAMES_LIMIT = 100
"""Names of one site: CAs put no more into a certificate."""


class SiteSettings(Model):
    """The whole of a `site.yaml`. Names are held as lower-case A-labels."""

    host: HostName
    additional_names: tuple[str, ...] = ()
    certificate: Source | None = None
    """None: `file` once a drop exists, else `main`."""
    upstream: Upstreams | None = None
    inspect: bool = False
    contact: Annotated[tuple[AddressField, ...], AfterValidator(check_contacts)] = ()
    """Addresses that get the site's warnings: a few, because anybody who writes a site.yaml can name them."""
    profile: str | None = None
    key_type: KeyType | None = None
    reuse_key: bool | None = None
    challenges: Challenges = None

    @field_validator("additional_names", mode="before")
    @classmethod
    def _names(cls, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list of host names")  # noqa: TRY004
        if len(value) >= NAMES_LIMIT:
            raise ValueError(f"a site has at most {NAMES_LIMIT} names, with its host; make another site of the rest")
        return tuple(dict.fromkeys(domain_name(item, wildcard=True) for item in value))

    @model_validator(mode="after")
    def _no_wildcard_of_everybody(self) -> Self:
        """CAs refuse them (CA/Browser Forum Baseline Requirements §3.2.2.6), and they would match names of anybody."""
        wildcards = [name for name in self.additional_names if name.startswith("*.")]
        if self.certificate is Source.ACME and (found := [each for each in wildcards if is_public_suffix(each[2:])]):
            raise ValueError(
                f"{found[0]}: this wildcard can't be ordered, as anybody may register names below {found[0][2:]}"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the site declares, its host first."""
        return (self.host, *(name for name in self.additional_names if name != self.host))
