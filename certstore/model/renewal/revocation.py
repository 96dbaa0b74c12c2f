"""What it means to revoke a certificate: the reasons that CAs accept, and what is served in its place.

Pure. Which files a version has, and what the CA says, is known elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.model.json_facts import Kept


class RevocationReason(StrEnum):
    """Those that a subscriber may give (RFC 5280 §5.3.1, Baseline Requirements §7.2.2)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"

    @property
    def code(self) -> int:
        return _CODES[self]

    @property
    def spends_key(self) -> bool:
        """Whether nothing may be served with the key any more."""
        return self is RevocationReason.KEY_COMPROMISE


_CODES = {
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
}


@dataclass(frozen=True, slots=True)
class Revocation(Kept):
    """That a version was revoked; kept beside its files."""

    at: datetime
    reason: RevocationReason
    ca: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another version of the site that could be served."""

    number: int
    is_usable: bool
    """Valid now, good for the host, and not revoked."""
    has_same_key: bool


class Follows(StrEnum):
    """What is served after a revocation. `SAME`: the revoked one, as there is nothing better."""

    NOT_LIVE = "not_live"
    ORDERED = "ordered"
    EARLIER = "earlier"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Successor:
    """`version` is the one of `EARLIER`."""

    follows: Follows
    version: int | None = None

    def in_words(self, site: str) -> str:
        match self.follows:
            case Follows.NOT_LIVE:
                return "it is not live: what clients get does not change"
            case Follows.ORDERED:
                return "it is live: a new certificate is ordered and served first; without it, nothing is revoked"
            case Follows.EARLIER:
                return f"it is live: clients get version {self.version} instead"
            case Follows.SAME:
                return (
                    f"it is live and {site} has no other usable version: clients go on getting the revoked "
                    "certificate, which some of them refuse, until you install another one"
                )


def decide_successor(
    *, is_live: bool, orders: bool, candidates: Iterable[Candidate], reason: RevocationReason
) -> Successor:
    """`orders`: whether a new certificate is to be ordered for a live one."""
    if not is_live:
        return Successor(Follows.NOT_LIVE)
    if orders:
        return Successor(Follows.ORDERED)
    usable = [each.number for each in candidates if each.is_usable and not (reason.spends_key and each.has_same_key)]
    return Successor(Follows.EARLIER, max(usable)) if usable else Successor(Follows.SAME)
