"""The state of a certificate at an instant, as status, console and warnings show it.

From (not_before, not_after, now) alone. When to renew is decided elsewhere; this is about what to show.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

WARNING_WINDOW = timedelta(days=5)
"""How long before its end a certificate of usual lifetime is shown as expiring."""
_USUAL_LIFETIME = timedelta(days=30)


class CertificateState(StrEnum):
    """`NONE`: the site has no certificate."""

    OK = "ok"
    WARNING = "warning"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NONE = "none"

    @property
    def is_fault(self) -> bool:
        """Whether clients refuse the certificate."""
        return self in {CertificateState.EXPIRED, CertificateState.NOT_YET_VALID}


def warning_begins(not_before: datetime, not_after: datetime) -> datetime:
    """Five days before the end; a lifetime below 30 days shortens the window in proportion (160 hours: 27 hours)."""
    lifetime = max(not_after - not_before, timedelta())
    return not_after - WARNING_WINDOW * min(1.0, lifetime / _USUAL_LIFETIME)


def certificate_state(not_before: datetime, not_after: datetime, now: datetime) -> CertificateState:
    """All three are aware. The instant `not_after` itself counts as expired, as it does in `selection`."""
    if not_after <= now:
        return CertificateState.EXPIRED
    if now < not_before:
        return CertificateState.NOT_YET_VALID
    if now >= warning_begins(not_before, not_after):
        return CertificateState.WARNING
    return CertificateState.OK


def remaining(not_after: datetime, now: datetime) -> timedelta:
    """The time left until `not_after`, never negative."""
    return max(not_after - now, timedelta())
