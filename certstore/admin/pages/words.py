"""How pages word facts: instants, time spans, keys, outcomes. Pure; no markup."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from certstore.model.notify.wording import MONTHS, distance
from certstore.model.record import Outcome
from certstore.model.settings.models import Source

SOURCES = {Source.FILE: "Files", Source.ACME: "Ordered from a CA", Source.MAIN: "Main certificate", None: "—"}
DOINGS = {
    "intake": "Certificate from files",
    "order": "Order",
    "renew": "Renewal",
    "rollback": "Rollback",
    "activate": "Activation",
    "settings": "Settings",
    "self_signed": "Self-signed certificate",
    "import": "Import",
    "prune": "Old versions removed",
    "mend": "Repair at start",
}
OUTCOMES = {
    Outcome.DONE: ("ok", "Done"),
    Outcome.NOTED: ("idle", "No change"),
    Outcome.REFUSED: ("failing", "Refused"),
    Outcome.FAILED: ("failing", "Failed"),
}


def day(at: datetime | None) -> str:
    """`4 Dec 2026`"""
    if at is None:
        return "—"
    at = at.astimezone(UTC)
    return f"{at.day} {MONTHS[at.month - 1][:3]} {at.year}"


def minute(at: datetime | None) -> str:
    """`4 Dec 2026, 14:05 UTC`"""
    return "—" if at is None else f"{day(at)}, {at.astimezone(UTC):%H:%M} UTC"


def from_now(at: datetime | None, now: datetime) -> str:
    """`in 3 days`, `2 hours ago`"""
    return "—" if at is None else distance(at, now)


def grouped(fingerprint: str) -> str:
    """A fingerprint in pairs of hex digits, as browsers show it."""
    return ":".join(fingerprint[start : start + 2] for start in range(0, len(fingerprint), 2)).upper()


def key_in_words(key_kind: str, key_bits: int) -> str:
    return f"EC, P-{key_bits}" if key_kind == "ec" else f"RSA, {key_bits} bits"


def setting_in_words(value: object) -> str:
    """A value of site.yaml. Most are a word or a list of words."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return json.dumps(value)


def sentence(text: str) -> str:
    """A message with a capital letter, unless it starts with a host name, a file name or the like."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def split_list(text: str) -> list[str]:
    """The items of a form's field, separated by commas or white space."""
    return text.replace(",", " ").split()


def came_from(source: str) -> str:
    """A version's source, as pages show it."""
    if source.startswith("acme:"):
        return f"ordered from {source.removeprefix('acme:')}"
    if source.startswith("import:"):
        return f"imported from {source.removeprefix('import:')}"
    known = {"upload": "uploaded", "self-signed": "created here, self-signed", "command": "command line"}
    return known.get(source, f"dropped: {source}" if "/" in source else source)
