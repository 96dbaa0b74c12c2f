"""What the supervisor says of the service: which settings run, and what became of the last reload.

Pure. Settings are compared by their meaning, not by their text: a new comment changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.model.json_facts import Kept
from certstore.model.settings.models import Settings


class Verdict(StrEnum):
    """What became of a start or a reload."""

    PENDING = "pending"
    """Not every process serves with the new settings yet."""
    SERVING = "serving"
    INCOMPLETE = "incomplete"
    """Clients are served, but control does not run."""
    REFUSED = "refused"
    """The settings could not be used; the previous ones stay."""


@dataclass(frozen=True, slots=True)
class ServiceState(Kept):
    """`begun` and `ended` count the start and all reloads. `begun` is counted before edge.yaml is read: who has seen it
    and then asks for a reload gets the verdict once `ended` is greater.

    `settings` is the digest of those that run, since `applied_at`. `started` is when the system started the process, in
    units of the system. `problems` names listeners that serve only a part. `installation` is the program that runs, as
    `service_report.installation` names it; a release that can't replace itself leaves it empty.
    """

    pid: int
    started: str
    config: str
    settings: str
    applied_at: datetime
    begun: int
    ended: int
    verdict: Verdict
    message: str
    problems: tuple[str, ...] = ()
    installation: str = ""


def digest_of(settings: Settings, release: str) -> str:
    """The same for settings that mean the same to this release."""
    return hashlib.sha256(f"{release}\n{settings.model_dump_json()}".encode()).hexdigest()[:32]


_STORE = re.compile(r"""^store[ \t]*:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s#"'][^\n#]*))""", re.MULTILINE)
DEFAULT_STORE = "store"


def store_named_in(text: str) -> str:
    """The store of an edge.yaml that has faults, so that you can be told about the service that runs on it."""
    found = _STORE.search(text)
    return next(each for each in found.groups() if each is not None).strip() if found is not None else DEFAULT_STORE
