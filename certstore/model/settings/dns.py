"""`acme.dns` in `edge.yaml`: how the edge writes the TXT records of dns-01 into your zones.

One way may be the default, and a zone may have another one. Secrets are in files that the settings name, never in the
settings themselves. Opens no file: `certstore.acme.dns.credentials` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from certstore.model.settings.addresses import HostName, HostPort, is_address, parse_host_port
from certstore.model.settings.base import Model

DNS_PORT = 53
TsigAlgorithm = Literal["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1", "hmac-md5"]

_SECRET_WORDS = re.compile(r"auth|token|secret|passw|key|credential", re.ASCII | re.IGNORECASE)
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
_TSIG_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,250}[A-Za-z0-9_.])?", re.ASCII)


def parse_dns_server(text: object) -> object:
    """A host with or without a port; the usual port of DNS servers is 53."""
    if isinstance(text, str) and is_address(text.strip("[]")):
        return HostPort(text.strip("[]"), DNS_PORT)
    if isinstance(text, str) and text and ":" not in text:
        return HostPort(text, DNS_PORT)
    return parse_host_port(text)


DnsServer = Annotated[HostPort, BeforeValidator(parse_dns_server)]


class Rfc2136Settings(Model):
    """Dynamic updates (RFC 2136) to the primary server of your zones, signed with TSIG (RFC 8945).

    The file holds the secret in base64, or the key as `tsig-keygen` and `keymgr` write it, with its name and algorithm.
    """

    server: DnsServer
    tsig_secret_file: Path
    tsig_name: str | None = None
    tsig_algorithm: TsigAlgorithm | None = None

    @field_validator("tsig_name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not _TSIG_NAME.fullmatch(value):
            raise ValueError("expected the name of the key as the DNS server has it, for example certedge")
        return value


class LexiconSettings(Model):
    """A hosted DNS through dns-lexicon. `credentials_file` holds the provider's options, one `name: value` a line."""

    provider: str
    credentials_file: Path | None = None
    options: dict[str, str | int | bool] = Field(default_factory=dict)
    seconds: float = Field(60, gt=0, le=600)

    @field_validator("provider")
    @classmethod
    def _provider(cls, value: str) -> str:
        if not _PROVIDER.fullmatch(value):
            raise ValueError("expected a provider's name as dns-lexicon has it, for example cloudflare or hetzner")
        return value

    @field_validator("options")
    @classmethod
    def _options(cls, options: dict[str, Any]) -> dict[str, Any]:
        secret = next((name for name in options if _SECRET_WORDS.search(name)), None)
        if secret is not None:
            raise ValueError(f"{secret} looks like a credential; put it into the file that credentials_file names")
        return options


class ExecSettings(Model):
    """A program of yours. It is started without a shell, with the record in its environment."""

    command: tuple[str, ...] = Field(min_length=1)
    seconds: float = Field(60, gt=0, le=600)
    credentials_file: Path | None = None

    @field_validator("command", mode="before")
    @classmethod
    def _command(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise ValueError("expected a list: the program and its arguments, as no shell reads them")
        if not value or not value[0].startswith("/"):
            raise ValueError("expected the whole path of the program first, for example /usr/local/bin/dns-hook")
        return value


def _exec(value: object) -> object:
    """The list alone is the short form."""
    return {"command": value} if isinstance(value, (str, list, tuple)) else value


ExecField = Annotated[ExecSettings, BeforeValidator(_exec)]
DnsWay = Rfc2136Settings | LexiconSettings | ExecSettings


class DnsZone(Model):
    """The one way to write into a zone."""

    rfc2136: Rfc2136Settings | None = None
    lexicon: LexiconSettings | None = None
    exec: ExecField | None = None

    @property
    def way(self) -> DnsWay | None:
        return self.rfc2136 or self.lexicon or self.exec

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        given = [name for name in ("rfc2136", "lexicon", "exec") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given, but a zone is written in one way")
        return self


class NamedZone(DnsZone):
    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.way is None:
            raise ValueError("one of rfc2136, lexicon and exec is required: how to write into this zone")
        return self


class DnsSettings(DnsZone):
    """`rfc2136`, `lexicon` or `exec` here is for every zone that `zones` does not name."""

    zones: dict[HostName, NamedZone] = Field(default_factory=dict)
    propagation_seconds: float = Field(120, gt=0, le=3600)
    """How long the zone's own servers may take to show a record. The CA is asked only after that."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.way is None and not self.zones:
            raise ValueError("no way is given: set rfc2136, lexicon or exec, or name your zones in zones")
        return self

    def ways(self) -> Iterator[tuple[str, DnsWay]]:
        """All of them, each with the key under which it stands in edge.yaml."""
        groups: Mapping[str, DnsZone] = {"": self} | {f"zones.{zone}.": each for zone, each in self.zones.items()}
        for prefix, group in groups.items():
            for name in ("rfc2136", "lexicon", "exec"):
                if (way := getattr(group, name)) is not None:
                    yield f"acme.dns.{prefix}{name}", way

    def named_zone(self, name: str) -> str | None:
        """The closest zone in `zones` that a name lies in; a leading underscore label is a name like any other."""
        labels = name.split(".")
        return next((zone for at in range(len(labels)) if (zone := ".".join(labels[at:])) in self.zones), None)

    def way_for(self, name: str) -> tuple[str, DnsWay] | None:
        """How to write a record at this name, and its key in edge.yaml. None: no way is set."""
        zone = self.named_zone(name)
        group: DnsZone = self.zones[zone] if zone is not None else self
        prefix = f"zones.{zone}." if zone is not None else ""
        for kind in ("rfc2136", "lexicon", "exec"):
            if (way := getattr(group, kind)) is not None:
                return f"acme.dns.{prefix}{kind}", way
        return None
