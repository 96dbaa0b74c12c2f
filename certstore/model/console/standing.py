"""How a site stands, in one word for an overview: decided from its certificate, its source and what is wrong.

Pure. Details are for the site's own page; here it only counts whether somebody has to do something, and how soon.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from certstore.model.certificate.expiry import CertificateState
from certstore.model.settings.models import Source


class Standing(StrEnum):
    """In the order in which an administrator wants to see them."""

    FAILING = "failing"
    WARNING = "warning"
    NO_CERTIFICATE = "no_certificate"
    MAIN_USED = "main_used"
    OK = "ok"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {standing: rank for rank, standing in enumerate(Standing)}
"""Asked for every row of every overview."""

LABELS = {
    Standing.FAILING: "Failing",
    Standing.WARNING: "Warning",
    Standing.NO_CERTIFICATE: "No certificate",
    Standing.MAIN_USED: "Main used",
    Standing.OK: "OK",
}

GRAVE = frozenset({"settings_invalid", "live_unusable", "expired", "not_yet_valid", "wrong_name"})
"""Problems by which clients are refused, or a site is not what its settings say."""


def judge_standing(
    source: Source | None, state: CertificateState, problems: Collection[str], *, is_order_failing: bool
) -> Standing:
    """`problems` are codes; `is_order_failing`: the last order failed and no later one succeeded."""
    if source is None or state.is_fault or not GRAVE.isdisjoint(problems):
        return Standing.FAILING
    if is_order_failing and state in (CertificateState.WARNING, CertificateState.NONE):
        return Standing.FAILING
    if is_order_failing or problems or state is CertificateState.WARNING:
        return Standing.WARNING
    if source is Source.MAIN:
        return Standing.MAIN_USED
    if state is CertificateState.NONE:
        return Standing.NO_CERTIFICATE
    return Standing.OK
