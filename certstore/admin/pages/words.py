"""How pages word facts: instants, time spans, keys, outcomes. Pure; no markup."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

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
AUDITED = {
    "account.adopt": "CA account taken over",
    "account.register": "CA account registered",
    "account.rollover": "CA account got a new key",
    "audit.view": "Audit log read",
    "cert.activate": "Certificate version activated",
    "cert.install": "Certificate installed",
    "cert.order": "Certificate ordered",
    "cert.preview": "Certificate files checked",
    "cert.revoke": "Certificate revoked",
    "cluster.init": "Cluster founded",
    "cluster.invite": "Node invited",
    "cluster.join": "Cluster joined",
    "cluster.leave": "Cluster left",
    "cluster.rebuild": "Cluster rebuilt",
    "cluster.remove": "Node taken out",
    "cluster.rotate_key": "Cluster's key changed",
    "notify.test": "Test mail sent",
    "profile.change": "Own account changed",
    "profile.view": "Own account viewed",
    "service.reload": "Service reloaded",
    "service.view": "Service viewed",
    "set_up": "Account set up",
    "settings.apply": "edge.yaml applied",
    "sign_in": "Signed in",
    "sign_out": "Signed out",
    "site.add": "Site added",
    "site.adopt": "Settings of a site adopted",
    "site.change": "Site changed",
    "site.preflight": "Preflight check",
    "site.remove": "Site removed",
    "site.set_source": "Certificate source changed",
    "site.verify": "Listeners checked",
    "site.view": "Site viewed",
    "sites.list": "Sites listed",
    "token.add": "API token created",
    "token.remove": "API token removed",
    "tokens.view": "API tokens listed",
    "user.add": "User added",
    "user.change": "User changed",
    "user.invite": "Set-up link created",
    "user.remove": "User removed",
    "users.view": "Users listed",
}
"""Codes of the audit log. One that is missing here, as of a newer release, is shown as it is."""
AUDIT_OUTCOMES = {
    "done": ("ok", "Done"),
    "started": ("idle", "Started"),
    "noted": ("idle", "No change"),
    "refused": ("failing", "Refused"),
    "failed": ("failing", "Failed"),
    "denied": ("failing", "Not allowed"),
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


def read_day(text: str) -> date | None:
    """A day from a form's field, or None: an unreadable one filters nothing."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


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
