"""What to do about a drop: the decision, without files and clocks.

A drop is decided once; one that may still be being written waits; and where the site's certificate comes from another
source, a drop is held back. Values in, one of five decisions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from certstore.model.certificate.bundle import CertificateBundle, Refused
from certstore.model.certificate.findings import Finding, Problem, Refusal, refusal
from certstore.model.settings.models import Source
from certstore.model.version import Version, chain_length

SETTLE = timedelta(seconds=2)
"""A drop that looks unfinished is decided when nothing in it has changed for this long."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The drop is the one that was decided last, or there never was one."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It may be half written: check again after `remaining`."""

    remaining: timedelta


@dataclass(frozen=True, slots=True)
class Missing:
    """There was a drop and there is none now. The certificate that it brought stays."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """`certificate:` in site.yaml names another source: nothing is activated until that changes."""

    source: Source


@dataclass(frozen=True, slots=True)
class Decided:
    """Final for this digest: activate the bundle, or record the refusal."""

    verdict: CertificateBundle | Refused


DropDecision = Unchanged | Wait | Missing | HeldBack | Decided


@dataclass(frozen=True, slots=True)
class LastDrop:
    """What is kept of the last drop of a site: its digest, and whether it was held back instead of decided."""

    digest: str
    is_held: bool

    def to_json(self) -> list[Any]:
        return [self.digest, self.is_held]

    @classmethod
    def from_json(cls, value: Any) -> LastDrop:
        return cls(*value)


def is_last_drop(value: Any) -> bool:
    """Whether `LastDrop.from_json` accepts the value."""
    return isinstance(value, list) and list(map(type, value)) == [str, bool]


@dataclass(frozen=True, slots=True)
class DropFacts:
    """`unchanged_for` is how long nothing in the drop has changed; `is_steady`: nothing did while it was read."""

    digest: str
    is_absent: bool
    is_steady: bool
    unchanged_for: timedelta


def is_news(digest: str, last: LastDrop | None, source: Source) -> bool:
    """Whether the content of a drop has to be read for its certificates and keys: the expensive part of a check."""
    return source is Source.FILE and (last is None or last.is_held or last.digest != digest)


def decide_drop(
    facts: DropFacts,
    verdict: CertificateBundle | Refused | None,
    *,
    last: LastDrop | None,
    source: Source,
    live: Version | None,
    settle: timedelta = SETTLE,
) -> DropDecision:
    """`verdict` is the result of reading the drop, None where `is_news` was False."""
    remaining = settle - facts.unchanged_for
    is_settled = facts.is_steady and remaining <= timedelta()
    if facts.is_absent:
        if last is None:
            return Unchanged()
        return Missing() if is_settled else Wait(_at_least(remaining))
    if source is not Source.FILE:
        return HeldBack(source) if last is None or last.digest != facts.digest or not last.is_held else Unchanged()
    if verdict is None:
        return Unchanged()
    if not facts.is_steady or (not is_settled and _may_be_unfinished(verdict, live)):
        return Wait(_at_least(remaining))
    if isinstance(verdict, CertificateBundle) and _is_less(verdict, live):
        left_out = [each for each in verdict.problems if each.code == Problem.LEFT_OUT]
        if left_out:
            return Decided(Refused(tuple(map(_instead_of_less, left_out))))
    return Decided(verdict)


def _may_be_unfinished(verdict: CertificateBundle | Refused, live: Version | None) -> bool:
    """Anything less than what is served, or less than a whole chain, could be a drop that is half written; and what was
    left out may be read soon.
    """
    if isinstance(verdict, Refused):
        return True
    unfinished = (Problem.MISSING_INTERMEDIATE, Problem.CHAIN_COMPLETED, Problem.LEFT_OUT)
    return any(each.code in unfinished for each in verdict.problems) or _is_less(verdict, live)


def _instead_of_less(left_out: Finding) -> Finding:
    """The refusal of an older certificate from a drop of which a part can't be read: it is not what was meant."""
    remedy = "but what can be read is older or less than what is served; repair or remove the rest"
    return refusal(Refusal.UNREADABLE, f"{left_out.message}, {remedy}")


def _is_less(verdict: CertificateBundle, live: Version | None) -> bool:
    return live is not None and (
        chain_length(verdict.primary) < live.chain_length
        or (live.has_rsa_pair and verdict.rsa is None)
        or (verdict.primary.not_before < live.not_before and not live.is_self_signed)
    )


def _at_least(remaining: timedelta) -> timedelta:
    """A drop that changed while it was read is checked again soon, but not at once."""
    return max(remaining, timedelta(milliseconds=50))
