"""The webhook channel: one JSON document per notice, POSTed to one URL and signed.

The signature is that of the Standard Webhooks specification (https://www.standardwebhooks.com): HMAC-SHA256 over
`ID.TIMESTAMP.BODY`, in base64, in the header `webhook-signature`, so any of its libraries verifies it. A notice that
has to be sent again keeps its `webhook-id`. Paths and queries of webhook URLs are often secrets: messages and logs
name the host only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from certstore.model.notify.due_notices import Notice
from certstore.model.notify.warnings import MatterKind
from certstore.model.notify.wording import describe, subject_of
from certstore.model.settings.models import WebhookSettings
from certstore.net.bounded_http import bounded, reason_of
from certstore.notify.channel import ChannelFailed, Refused

NAME = "webhook"
TIMEOUT_SECONDS = 30
SHOWN_SITES = 200
"""More sites in one document are counted only."""
SECRET_BYTES = 16
"""The shortest secret that is used; the specification recommends 24 to 64."""

_TRY_AGAIN = frozenset({408, 425, 429})
"""Answers below 500 that say nothing against the document itself (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""


class WebhookChannel:
    """Every notice about any site goes to the one URL; the contacts of sites play no part."""

    name = NAME

    def __init__(self, settings: WebhookSettings, base: Path, edge: str) -> None:
        self._url = settings.url
        self._secret_file = base / settings.secret_file
        self._verify: str | bool = True if settings.ca_file is None else str(base / settings.ca_file)
        self._edge = edge
        self._place = f"the webhook at {urlsplit(settings.url).netloc}"

    def recipients(self, contacts: Collection[str]) -> Collection[str]:
        return (NAME,)

    def serves(self, recipient: str) -> bool:
        return recipient == NAME

    def deliver(
        self, notices: Sequence[Notice], now: datetime, delivered: Callable[[Notice], None]
    ) -> Sequence[Refused]:
        refused = []
        for notice in notices:
            reason = self._post(notice.id, _document(notice, self._edge, now), now)
            if reason is None:
                delivered(notice)
            else:
                refused.append(Refused(NAME, reason))
        return refused

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        document = _envelope("test", self._edge, "Test of certificate warnings", now)
        identity = hashlib.sha256(f"test {now.isoformat()}".encode()).hexdigest()[:32]
        reason = self._post(identity, document, now)
        return [] if reason is None else [Refused(NAME, reason)]

    def _post(self, identity: str, document: Mapping[str, Any], now: datetime) -> str | None:
        """Why the receiver refused the document; None once it is accepted. Raises ChannelFailed: try again later."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "certedge",
            "webhook-id": identity,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._secret(), identity, timestamp, body),
        }
        try:
            with bounded(requests.Session()) as session:
                answer = session.post(
                    self._url,
                    data=body,
                    headers=headers,
                    timeout=TIMEOUT_SECONDS,
                    verify=self._verify,
                    allow_redirects=False,
                )
        except (requests.RequestException, OSError) as error:
            raise ChannelFailed(f"{self._place}: {reason_of(error)}") from None
        if answer.status_code >= 500 or answer.status_code in _TRY_AGAIN:
            raise ChannelFailed(f"{self._place} answered {answer.status_code}")
        if answer.ok and not answer.is_redirect:
            return None
        hint = "; redirects are not followed" if 300 <= answer.status_code < 400 else ""
        return f"it answered {answer.status_code}{hint}"

    def _secret(self) -> bytes:
        """Read for each notice, so a rotated secret needs no reload. Raises ChannelFailed."""
        try:
            text = self._secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ChannelFailed(f"notify.webhook.secret_file {self._secret_file}: {reason}") from None
        try:
            secret = secret_from(text)
        except ValueError as error:
            raise ChannelFailed(f"notify.webhook.secret_file {self._secret_file}: {error}") from None
        return secret


def secret_from(text: str) -> bytes:
    """The key in a secret's text: `whsec_` and base64, as the specification writes it, or the text itself.

    Raises ValueError, without a character of the text.
    """
    if text.startswith("whsec_"):
        try:
            secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("what follows whsec_ is not base64") from None
    else:
        secret = text.encode()
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"the secret is shorter than {SECRET_BYTES} bytes; make one with: openssl rand -base64 32")
    return secret


def sign(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`; `timestamp` is in seconds since the epoch."""
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _document(notice: Notice, edge: str, now: datetime) -> dict[str, Any]:
    matters = [matter for matter in notice.matters if matter.kind is not MatterKind.STALLED]
    stalled = next((matter for matter in notice.matters if matter.kind is MatterKind.STALLED), None)
    sites = [
        {
            "kind": matter.kind.value,
            "not_after": matter.not_after.isoformat(timespec="seconds") if matter.not_after else None,
            **asdict(describe(matter, now)),
            "names": list(matter.names),
        }
        for matter in matters[:SHOWN_SITES]
    ]
    return {
        **_envelope(notice.kind.value, edge, subject_of(notice, now), now),
        "sites": sites,
        "more_sites": max(len(matters) - SHOWN_SITES, 0),
        "resolved": list(notice.resolved),
        "maintenance_stalled_since": stalled.since.isoformat(timespec="seconds") if stalled is not None else None,
    }


def _envelope(kind: str, edge: str, subject: str, now: datetime) -> dict[str, Any]:
    return {
        "version": 1,
        "kind": kind,
        "edge": edge,
        "at": now.isoformat(timespec="seconds"),
        "subject": subject,
    }
