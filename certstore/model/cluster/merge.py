"""Which of two records wins: decided from the records alone, so that every node comes to the same answer.

`theirs` is what the engine holds, `ours` what this store has and would publish. No node's clock plays a part: times in
certificates are the CA's, and `at` in a record is for people. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from certstore.model.cluster.records import Act, HeadRecord, SiteRecord
from certstore.model.names import covers


class Winner(StrEnum):
    SAME = "same"
    """Both say the same: nothing is written, theirs counts as ours from now on."""
    THEIRS = "theirs"
    OURS = "ours"


class Because(StrEnum):
    """The rule that decided, for records and for people."""

    IS_FIRST = "is_first"
    IS_SAME = "is_same"
    SITE_REMOVED = "site_removed"
    FITS_BETTER = "fits_better"
    IS_LATER = "is_later"
    BY_A_PERSON = "by_a_person"
    NEWER_DROP = "newer_drop"
    WAS_COMMITTED_FIRST = "was_committed_first"


@dataclass(frozen=True, slots=True)
class Verdict:
    winner: Winner
    because: Because


EXPLANATIONS: Mapping[Because, str] = {
    Because.IS_FIRST: "the cluster had none",
    Because.IS_SAME: "both are the same",
    Because.SITE_REMOVED: "the site was removed",
    Because.FITS_BETTER: "the other certificate does not cover the site's host, or is self-signed",
    Because.IS_LATER: "the other certificate ended before this one began",
    Because.BY_A_PERSON: "a person chose it, and the other one came by itself",
    Because.NEWER_DROP: "of two drops, its certificate is the newer one",
    Because.WAS_COMMITTED_FIRST: "it reached the cluster first",
}
"""Why the winner won, to follow "because"."""


def decide_head(theirs: HeadRecord | None, ours: HeadRecord, site: SiteRecord) -> Verdict:
    """Which of two versions is live from now on. `site` is the site's record as the engine has it.

    The loser stays in the archive of its node. Where ours wins, it is published under a number above theirs.
    """
    if theirs is not None and theirs.digest == ours.digest:
        return Verdict(Winner.SAME, Because.IS_SAME)
    if site.removal is not None:
        return Verdict(Winner.THEIRS, Because.SITE_REMOVED)
    if theirs is None:
        return Verdict(Winner.OURS, Because.IS_FIRST)
    fits = _fits(theirs, site.host), _fits(ours, site.host)
    if fits[0] != fits[1]:
        return _either(Because.FITS_BETTER, is_ours=fits[1])
    if theirs.version.not_after < ours.version.not_before:
        return Verdict(Winner.OURS, Because.IS_LATER)
    if ours.version.not_after < theirs.version.not_before:
        return Verdict(Winner.THEIRS, Because.IS_LATER)
    by_a_person = theirs.act is Act.PERSON, ours.act is Act.PERSON
    if by_a_person[0] != by_a_person[1]:
        return _either(Because.BY_A_PERSON, is_ours=by_a_person[1])
    begin = theirs.version.not_before, ours.version.not_before
    if theirs.act is ours.act is Act.DROP and begin[0] != begin[1]:
        return _either(Because.NEWER_DROP, is_ours=begin[1] > begin[0])
    return Verdict(Winner.THEIRS, Because.WAS_COMMITTED_FIRST)


def decide_site(theirs: SiteRecord | None, ours: SiteRecord) -> Verdict:
    """Which of two declarations of one site counts.

    A removal wins over any other change, whichever came first: what was dropped meanwhile is in the archives, and
    `site add` brings the site back.
    """
    if theirs is None:
        return Verdict(Winner.OURS, Because.IS_FIRST)
    if theirs.digest == ours.digest:
        return Verdict(Winner.SAME, Because.IS_SAME)
    if theirs.removal is not None or ours.removal is not None:
        return _either(Because.SITE_REMOVED, is_ours=theirs.removal is None)
    return Verdict(Winner.THEIRS, Because.WAS_COMMITTED_FIRST)


class Freshness(StrEnum):
    """A record from the engine, compared with the newest that this node ever saw under its path."""

    NEWER = "newer"
    KNOWN = "known"
    OLDER = "older"
    """Authentic, but of the past: the engine was restored, or shows what it should not."""
    FORKED = "forked"
    """The same generation with another content: it was written twice, around a restore of the engine."""


def freshness(generation: int, digest: str, floor: int, floor_digest: str) -> Freshness:
    """`floor` is the highest generation seen, 0 where there was none, and `floor_digest` that of its record."""
    if generation != floor:
        return Freshness.NEWER if generation > floor else Freshness.OLDER
    return Freshness.KNOWN if digest == floor_digest else Freshness.FORKED


def may_put_back(missing: int, known: int) -> bool:
    """Whether so few of the records that this node knows are missing in the engine that they are put back by
    themselves. Where more are, a person has to look: it may be another engine, or an emptied one.
    """
    return missing * 10 < known


def _fits(head: HeadRecord, host: str) -> bool:
    return covers(head.version.dns_names, host) and not head.version.is_self_signed


def _either(because: Because, *, is_ours: bool) -> Verdict:
    return Verdict(Winner.OURS if is_ours else Winner.THEIRS, because)
