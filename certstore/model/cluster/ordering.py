"""`d/acme`: the settings by which the cluster orders and warns, so that no node takes the duty with others.

A caretaker with another `acme.directory` would order every certificate anew. Each setting is held as a digest: nodes
compare, and name the keys that differ. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from certstore.model import json_facts
from certstore.model.cluster.records import NEWEST_SCHEMA, SCHEMA
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.settings.models import Settings

type OrderingFacts = Mapping[str, str]
"""Keys of edge.yaml with the digests of their values."""

_LOCAL = ("acme.ca_file", "acme.resolver", "acme.probe_private")
"""How a node reaches a CA may differ: it does not change what is ordered."""
_DIGEST_LENGTH = 16


def ordering_facts(settings: Settings) -> OrderingFacts:
    """What of edge.yaml has to be the same on every node that may order."""
    acme, notify = settings.acme, settings.notify
    values: dict[str, Any] = {
        f"acme.{key}": value for key, value in acme.model_dump(mode="json", exclude={"external_account"}).items()
    }
    values["acme.external_account"] = acme.external_account.key_id if acme.external_account else None
    values["notify.from"] = notify.sender
    values["notify.to"] = list(notify.to)
    values["notify.smtp"] = notify.smtp is not None
    values["notify.webhook"] = notify.webhook.url if notify.webhook else None
    return {key: _digest(value) for key, value in values.items() if key not in _LOCAL}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]


@dataclass(frozen=True, slots=True)
class OrderingRecord(json_facts.Kept):
    """What the cluster agreed on. `by` is the node that said so last, `at` its clock."""

    facts: Mapping[str, str]
    by: str
    at: datetime

    def encode(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **self.to_json()}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, plaintext: bytes) -> Self:
        """Raises Refused."""
        try:
            facts = json.loads(plaintext)
            if facts["schema"] > NEWEST_SCHEMA:
                raise Refused(Refusal.NEWER_RELEASE, f"it has schema {facts['schema']}: update this node")
            return cls.from_json(facts)
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise Refused(Refusal.MALFORMED, f"it can't be understood: {type(error).__name__}") from None


class Agreement(StrEnum):
    AGREES = "agrees"
    SETS = "sets"
    """This node's edge.yaml has changed since it agreed, or nobody has said anything yet: what it has counts now."""
    DIFFERS = "differs"
    """This node may not order until its edge.yaml says the same."""


def decide_agreement(ours: OrderingFacts, agreed: OrderingFacts | None, theirs: OrderingFacts | None) -> Agreement:
    """`agreed` is what this node last had in common with the cluster, `theirs` what the cluster says now."""
    if theirs is None:
        return Agreement.SETS
    if dict(theirs) == dict(ours):
        return Agreement.AGREES
    return Agreement.SETS if agreed is not None and dict(agreed) == dict(theirs) else Agreement.DIFFERS


def differing_keys(ours: OrderingFacts, theirs: OrderingFacts) -> tuple[str, ...]:
    return tuple(sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)))
