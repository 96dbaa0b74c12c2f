"""How a certificate stands at an instant: what status, console and warnings say about it.

From (not_before, not_after, now) alone. When to renew is decided elsewhere; this is about what people have to be told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

WARNING_WINDOW = timedelta(days=5)
"""Before the end of a certificate of usual lifetime."""
_USUAL_LIFETIME = timedelta(days=30)


class CertificateState(StrEnum):
    """`NONE`: the site has no certificate of its own."""

    OK = "ok"
    WARNING = "warning"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NONE = "none"

    @property
    def is_fault(self) -> bool:
        """Whether clients are refused because of it."""
        return self in {CertificateState.EXPIRED, CertificateState.NOT_YET_VALID}


def warning_begins(not_before: datetime, not_after: datetime) -> datetime:
    """Five days before the end; a lifetime below 30 days shortens the window in proportion (160 hours: 27 hours)."""
    lifetime = max(not_after - not_before, timedelta())
    return not_after - WARNING_WINDOW * min(1.0, lifetime / _USUAL_LIFETIME)


def certificate_state(not_before: datetime, not_after: datetime, now: datetime) -> CertificateState:
    """All three aware. The instant `not_after` itself counts as expired, as it does in choosing."""
    if not_after <= now:
        return CertificateState.EXPIRED
    if now < not_before:
        return CertificateState.NOT_YET_VALID
    if now >= warning_begins(not_before, not_after):
        return CertificateState.WARNING
    return CertificateState.OK


def remaining(not_after: datetime, now: datetime) -> timedelta:
    """Never negative."""
    return max(not_after - now, timedelta())
