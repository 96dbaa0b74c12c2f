"""What one attempt did: the one source for status, console, mail and log.

A record holds when, which action, its outcome, the reason, and when the next attempt is. It never holds a key, a
password or the content of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """`DONE` changed what is served or stored, `NOTED` changed nothing and is not a fault; the other two are faults."""

    DONE = "done"
    NOTED = "noted"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """`doing` names the action ("intake", "rollback", "order", …), `reason` is a code, `message` is for people.

    `version` is the version that was made or made live; `source` is where the input came from (a path, "upload", a CA's
    name).
    """

    at: datetime
    doing: str
    outcome: Outcome
    reason: str
    message: str
    version: int | None = None
    next_attempt: datetime | None = None
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; times in RFC 3339, absent facts left out."""
        facts = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Record:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        times = {name: datetime.fromisoformat(facts[name]) for name in ("at", "next_attempt") if name in facts}
        known = {name: facts[name] for name in cls.__slots__ if name in facts}
        return cls(**{**known, **times, "outcome": Outcome(facts["outcome"])})
