"""`cluster:` in edge.yaml: how this node reaches the engine that it shares with others, and what it keeps.

Without the section, the node is alone and nothing of the cluster is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, model_validator

from certstore.model.names import is_site_key
from certstore.model.settings.addresses import CertificateName
from certstore.model.settings.base import Model

NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A label of a host name: it becomes a part of keys in the engine."""
_USUAL_PORT = 2379
_MOST_MEMBERS = 15


def _node(value: Any) -> str:
    name = value.lower() if isinstance(value, str) else ""
    if not NODE_NAME.fullmatch(name):
        raise ValueError("expected a label of a host name, for example edge-a: letters, digits and inner hyphens")
    return name


def _endpoint(value: str) -> str:
    expected = f"expected https://host:port, for example https://10.0.0.11:{_USUAL_PORT}"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port or _USUAL_PORT
    except ValueError:
        raise ValueError(expected) from None
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme != "https" or not host or has_more or not value.isprintable() or " " in value:
        raise ValueError(expected)
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _only(value: str) -> str:
    if not is_site_key(value):
        raise ValueError("expected the key of a site, for example main or webmail.example.com")
    return value


def _members(members: tuple[str, ...]) -> tuple[str, ...]:
    if not members:
        raise ValueError("expected at least one https://host:port")
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"expected at most {_MOST_MEMBERS} members")
    if len(set(members)) < len(members):
        raise ValueError("names a member twice")
    return members


NodeName = Annotated[str, BeforeValidator(_node)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
SiteKey = Annotated[str, AfterValidator(_only)]


class ClusterSettings(Model):
    node: NodeName | None = None
    """None: the first label of the machine's host name."""
    engine: Annotated[tuple[Endpoint, ...], AfterValidator(_members)]
    """All members of the engine, in any order."""
    ca_file: Path
    """The authority that issued the members' certificates; the system's authorities don't count here."""
    client_cert: Path | None = None
    """A PEM file with this node's certificate and key, without a CommonName."""
    username: str | None = None
    password_file: Path | None = None
    key_file: Path | None = None
    """The cluster's keys. None: cluster/keys.json in the store."""
    addresses: tuple[CertificateName, ...] = ()
    """Where clients reach this node. Empty: the addresses of its listeners."""
    only: tuple[SiteKey, ...] = ()
    """The sites that this node keeps; empty: all. For servers that need a few certificates."""

    @model_validator(mode="after")
    def _signs_in(self) -> Self:
        if (self.username is None) is not (self.password_file is None):
            raise ValueError("`username` and `password_file` belong together")
        if self.client_cert is None and self.username is None:
            raise ValueError("the engine has to know who asks: set `client_cert`, or `username` and `password_file`")
        return self
