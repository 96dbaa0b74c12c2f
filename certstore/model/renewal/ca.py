"""A CA, identified by its directory: the URL behind a setting, and the key under which the store keeps its account.

Pure.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from certstore.model.settings.models import ACME_DIRECTORIES, AcmeSettings

_KEY_LIMIT = 100
_UNFIT = re.compile(r"[^a-z0-9.-]+")
_USUAL_PATHS = ("", "/", "/directory")


@dataclass(frozen=True, slots=True)
class Ca:
    """`key` suits file names and people. Two directories on one host have different keys."""

    url: str
    key: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def find_ca(directory: str) -> Ca:
    """`directory` as in edge.yaml: a built-in name or a URL."""
    url = ACME_DIRECTORIES.get(directory, directory)
    return Ca(url, ca_key(url))


def configured_cas(settings: AcmeSettings) -> tuple[Ca, ...]:
    """The first CA, then the second if there is one."""
    directories = [settings.directory, *([settings.second_directory] if settings.second_directory else [])]
    return tuple(dict.fromkeys(find_ca(directory) for directory in directories))


def ca_key(url: str) -> str:
    """Only the host where the directory has a usual path, so that you recognise it."""
    parts = urlsplit(url)
    key = (parts.hostname or "").lower()
    if parts.port not in (None, 443):
        key += f"-{parts.port}"
    if parts.path not in _USUAL_PATHS or parts.query:
        key += "-" + f"{parts.path}-{parts.query}".strip("/-").lower()
    plain = _UNFIT.sub("-", key).strip("-.")
    if len(plain) > _KEY_LIMIT:
        plain = f"{plain[:_KEY_LIMIT]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return plain
