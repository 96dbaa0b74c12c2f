"""How a site stands, in one word for an overview: decided from its certificate, its source and what is wrong.

Pure. Details are for the site's own page; here it only counts whether somebody has to do something, and how soon.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from certstore.model.certificate.expiry import CertificateState
from certstore.model.settings.models import Source


class SiteStatus(StrEnum):
    """In the order in which an administrator wants to see them."""

    FAILING = "failing"
    WARNING = "warning"
    NO_CERTIFICATE = "no_certificate"
    MAIN_USED = "main_used"
    OK = "ok"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {standing: rank for rank, standing in enumerate(SiteStatus)}
"""Asked for every row of every overview."""

LABELS = {
    SiteStatus.FAILING: "Failing",
    SiteStatus.WARNING: "Warning",
    SiteStatus.NO_CERTIFICATE: "No certificate",
    SiteStatus.MAIN_USED: "Main used",
    SiteStatus.OK: "OK",
}

GRAVE = frozenset({"settings_invalid", "live_unusable", "expired", "not_yet_valid", "wrong_name"})
"""Problems by which clients are refused, or a site is not what its settings say."""


def decide_status(
    source: Source | None, state: CertificateState, problems: Collection[str], *, is_order_failing: bool
) -> SiteStatus:
    """`problems` are codes; `is_order_failing`: the last order failed and no later one succeeded."""
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
