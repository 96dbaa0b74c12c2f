"""The status of a site, in one word for an overview: decided from its certificate, its source and its problems.

Pure. The status says only whether somebody has to act, and how soon; details are on the site's page.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from certstore.model.certificate.expiry import CertificateState
from certstore.model.settings.models import Source


class SiteStatus(StrEnum):
    """The most urgent first."""

    FAILING = "failing"
    WARNING = "warning"
    NO_CERTIFICATE = "no_certificate"
    MAIN_USED = "main_used"
    OK = "ok"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {standing: rank for rank, standing in enumerate(SiteStatus)}
"""A table, because every overview needs the rank of every row."""

LABELS = {
    SiteStatus.FAILING: "Failing",
    SiteStatus.WARNING: "Warning",
    SiteStatus.NO_CERTIFICATE: "No certificate",
    SiteStatus.MAIN_USED: "Main used",
    SiteStatus.OK: "OK",
}

GRAVE = frozenset({"settings_invalid", "live_unusable", "live_unloadable", "expired", "not_yet_valid", "wrong_name"})
"""Problems because of which clients reject the certificate, or the site does not follow its settings."""


def decide_status(
    source: Source | None, state: CertificateState, problems: Collection[str], *, is_order_failing: bool
) -> SiteStatus:
    """`problems` are codes; `is_order_failing` means that the last order failed."""
    if source is None or state.is_fault or not GRAVE.isdisjoint(problems):
        return SiteStatus.FAILING
    if is_order_failing and state in (CertificateState.WARNING, CertificateState.NONE):
        return SiteStatus.FAILING
    if is_order_failing or problems or state is CertificateState.WARNING:
        return SiteStatus.WARNING
    if source is Source.MAIN:
        return SiteStatus.MAIN_USED
    if state is CertificateState.NONE:
        return SiteStatus.NO_CERTIFICATE
    return SiteStatus.OK
