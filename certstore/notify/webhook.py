"""The webhook channel: one signed JSON document per notice, POSTed to one URL.

Signed as the Standard Webhooks specification (https://www.standardwebhooks.com) requires: HMAC-SHA256 over
`ID.TIMESTAMP.BODY`, in base64, in the header `webhook-signature`. Any of its libraries verifies it. A notice that is
sent again keeps its `webhook-id`. Paths and queries of webhook URLs are often secrets: messages and logs show only the
host.
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
from certstore.model.notify.wording import TEST_SUBJECT, describe_problems, describe_sites, subject_of
from certstore.model.settings.models import WebhookSettings
from certstore.net.bounded_http import bounded, reason_of
from certstore.notify.channel import ChannelFailed, Refused, read_secret

NAME = "webhook"
TIMEOUT_SECONDS = 30
SECRET_BYTES = 16
"""The shortest accepted secret; the specification recommends 24 to 64."""

_TRY_AGAIN = frozenset({408, 425, 429})
"""Answers below 500 that do not reject the document itself (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""


class WebhookChannel:
    """Sends every notice about any site to the one URL; the contacts of sites don't matter."""

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
            reason = self._post(notice.id_of(self._edge), _document(notice, self._edge, now), now)
            if reason is None:
                delivered(notice)
            else:
                refused.append(Refused(NAME, reason))
        return refused

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        document = _envelope("test", self._edge, TEST_SUBJECT, now)
        identity = hashlib.sha256(f"test {now.isoformat()}".encode()).hexdigest()[:32]
        reason = self._post(identity, document, now)
        return [] if reason is None else [Refused(NAME, reason)]

    def _post(self, identity: str, document: Mapping[str, Any], now: datetime) -> str | None:
        """Why the receiver refused the document; None if it accepted it. Raises ChannelFailed: try again later."""
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
        except ValueError:  # the library's messages quote the URL
            raise ChannelFailed(f"{self._place}: notify.webhook.url, or the URL of a proxy, is not valid") from None
        except (requests.RequestException, OSError) as error:
            raise ChannelFailed(f"{self._place}: {reason_of(error)}") from None
        if answer.status_code >= 500 or answer.status_code in _TRY_AGAIN:
            raise ChannelFailed(f"{self._place} answered {answer.status_code}")
        if 200 <= answer.status_code < 300:
            return None
        hint = "; redirects are not followed" if 300 <= answer.status_code < 400 else ""
        return f"it answered {answer.status_code}{hint}"

    def _secret(self) -> bytes:
        try:
            return secret_from(read_secret("notify.webhook.secret_file", self._secret_file).strip())
        except ValueError as error:
            raise ChannelFailed(f"notify.webhook.secret_file {self._secret_file}: {error}") from None


def secret_from(text: str) -> bytes:
    """The key: base64 after `whsec_`, as the specification writes it, or else the text itself.

    Raises ValueError; its message contains nothing of the text.
    """
    if text.startswith("whsec_"):
        try:
            secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("the text after whsec_ is not base64") from None
    else:
        secret = text.encode()
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"the secret is shorter than {SECRET_BYTES} bytes; create one with: openssl rand -base64 32")
    return secret


def sign(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`; `timestamp` is in seconds since the epoch."""
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _document(notice: Notice, edge: str, now: datetime) -> dict[str, Any]:
    described, more = describe_sites(notice, now)
    problems, more_problems = describe_problems(notice, now)
    stalled = notice.stalled_since
    sites = [
        {
            "kind": matter.kind.value,
            "not_after": matter.not_after.isoformat(timespec="seconds") if matter.not_after else None,
            **asdict(item),
            "names": list(matter.names),
        }
        for matter, item in described
    ]
    return {
        **_envelope(notice.kind.value, edge, subject_of(notice, now), now),
        "sites": sites,
        "more_sites": more,
        "node": notice.node or None,
        "problems": [
            {**asdict(item), "since": problem.since.isoformat(timespec="seconds")} for problem, item in problems
        ],
        "more_problems": more_problems,
        "resolved": list(notice.resolved),
        "resolved_problems": list(notice.resolved_problems),
        "maintenance_stalled_since": stalled.isoformat(timespec="seconds") if stalled is not None else None,
    }


def _envelope(kind: str, edge: str, subject: str, now: datetime) -> dict[str, Any]:
    at = now.isoformat(timespec="seconds")
    return {"version": 1, "kind": kind, "edge": edge, "at": at, "subject": subject}
