"""Asks for and reads the window that the CA suggests for one certificate (RFC 9773). Decides nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certstore.acme.network import Conversation, OrderFailed, read_retry_after
from certstore.files.clock import utc_now
from certstore.model.certificate.x509_facts import read_pem
from certstore.model.renewal.state import SuggestedWindow

_URL_LIMIT = 500


@dataclass(frozen=True, slots=True)
class RenewalInfoAnswer:
    """`window` is None where the CA answered with an error or an invalid window, which is one that does not end after
    it begins (RFC 9773 §4.2). `retry_after` is the CA's own wish."""

    window: SuggestedWindow | None
    retry_after: timedelta | None
    problem: str = ""


def certificate_id(cert_pem: bytes) -> str | None:
    """RFC 9773 §4.1: the authority's key identifier and the serial number's DER bytes. None without the identifier."""
    fields = read_pem(cert_pem)[0].fields
    authority, serial = fields.authority_key_id, fields.serial
    if authority is None:
        return None
    # With one bit to spare, as a DER integer whose highest bit is set begins with a zero byte. Signed, because some
    # in-house CAs have issued negative numbers.
    serial_bytes = serial.to_bytes((serial.bit_length() + 8) // 8, "big", signed=True)
    return f"{_base64url(authority)}.{_base64url(serial_bytes)}"


def ask_renewal_info(conversation: Conversation, certificate: str) -> RenewalInfoAnswer:
    """Needs no account. Never raises: a failure is an answer without a window."""
    if not conversation.has("renewalInfo"):
        return RenewalInfoAnswer(None, timedelta(days=1), "the CA does not suggest windows")
    base: str = conversation.directory["renewalInfo"]
    try:
        response = conversation.get(f"{base.rstrip('/')}/{certificate}")
        retry_after = read_retry_after(response)
        wait = None if retry_after is None else retry_after - utc_now()
        window = read_window(response.json())
    except OrderFailed as failed:
        return RenewalInfoAnswer(None, None, failed.failure.detail)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return RenewalInfoAnswer(None, None, "the CA's answer is not renewal information")
    if not window.is_valid:
        return RenewalInfoAnswer(None, wait, "the CA's window does not end after it begins")
    return RenewalInfoAnswer(window, wait)


def read_window(facts: Any) -> SuggestedWindow:
    """From the JSON of RFC 9773 §4.2. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
    window = facts["suggestedWindow"]
    url = facts.get("explanationURL")
    is_link = isinstance(url, str) and url.startswith(("https://", "http://")) and url.isprintable()
    return SuggestedWindow(_instant(window["start"]), _instant(window["end"]), url[:_URL_LIMIT] if is_link else None)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return instant.astimezone(UTC)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
