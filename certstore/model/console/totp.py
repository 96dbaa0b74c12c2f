"""One-time codes of an authenticator app (RFC 6238: SHA-1, 6 digits, 30 seconds), checked and described.

Pure. Every app supports SHA-1, and HMAC does not depend on the collision resistance that SHA-1 lacks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20
_DRIFT = 1
"""How many steps a phone's clock may be off, in either direction."""


def step_at(now: datetime) -> int:
    return int(now.timestamp()) // STEP_SECONDS


def code_at(secret: str, step: int) -> str:
    """RFC 4226 §5.3. `secret` is base32; raises ValueError on anything else."""
    try:
        key = base64.b32decode(secret)
    except binascii.Error as error:
        raise ValueError("the secret is not base32") from error
    digest = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def matching_step(secret: str, code: str, now: datetime, *, last_step: int) -> int | None:
    """The time step that the code belongs to, or None. A step up to `last_step`, the last one used, is refused."""
    given = code.replace(" ", "")
    if len(given) != DIGITS or not (given.isascii() and given.isdigit()):
        return None
    present = step_at(now)
    for step in range(present - _DRIFT, present + _DRIFT + 1):
        if step > last_step and hmac.compare_digest(code_at(secret, step), given):
            return step
    return None


def provisioning_uri(secret: str, name: str, issuer: str) -> str:
    """The URI that authenticator apps read from a link or a QR code."""
    label = quote(f"{issuer}:{name}", safe="")
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer, safe='')}&digits={DIGITS}"
