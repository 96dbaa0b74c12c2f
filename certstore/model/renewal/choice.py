"""Which way each name is proven to the CA: the order of the challenge types to try, and why. Pure.

The first that the preflight finds open is taken. One that failed at the CA in this row of failures comes last, even
where it looks open from here: the CA's limit of failed validations is small, and its view is the one that counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certstore.model.challenge import USUAL_CHALLENGES
from certstore.model.renewal.preflight_facts import CannotProve, PreflightFinding, Severity
from certstore.model.renewal.preflight_findings import cannot_finding
from certstore.model.renewal.ways import NameWay
from certstore.model.text import listed


@dataclass(frozen=True, slots=True)
class CheckedWay:
    """What the preflight found about one type for one name. `is_checked` is False where an earlier one is open."""

    type: str
    findings: tuple[PreflightFinding, ...] = ()
    cannot: CannotProve | None = None
    is_checked: bool = True

    @property
    def is_open(self) -> bool:
        return self.is_checked and self.cannot is None and not self.findings

    @property
    def is_usable(self) -> bool:
        """Whether the CA may be asked by this way."""
        return self.cannot is None and all(each.severity is not Severity.FATAL for each in self.findings)


@dataclass(frozen=True, slots=True)
class NameChoice:
    """`ways` are the types in the order to try them, none where none may be tried. `why` is for people. `findings` say
    what stands against the first way, or against every way where there is none. `last_resort` are the types for an
    order that is made in spite of them."""

    name: str
    ways: tuple[str, ...]
    why: str
    findings: tuple[PreflightFinding, ...] = ()
    last_resort: tuple[str, ...] = ()


def way_of(choice: NameChoice) -> NameWay:
    """What the name takes, for people."""
    return NameWay(choice.name, choice.ways[0] if choice.ways else "", choice.why)


def order_of(types: Sequence[str], failed: Sequence[str] = ()) -> tuple[str, ...]:
    """The order in which to look at a name's types. `failed` are those that failed at the CA, the latest last."""
    return (*(each for each in types if each not in failed), *(each for each in dict.fromkeys(failed) if each in types))


@dataclass(frozen=True, slots=True)
class Ways:
    """The challenge types that may be used, in the order to try them, and for each name those that failed at the CA,
    the latest last. `barred` are those of the types that the site must not use."""

    types: Sequence[str] = USUAL_CHALLENGES
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    barred: Mapping[str, CannotProve] = field(default_factory=dict)

    def of(self, name: str) -> tuple[str, ...]:
        return order_of(self.types, self.failed.get(name, ()))


def choose_way(name: str, checked: Sequence[CheckedWay], failed: Sequence[str] = ()) -> NameChoice:
    """`checked` is in the order of `order_of`."""
    usable = [way for way in checked if way.is_usable]
    if not usable:
        possible = tuple(way.type for way in checked if way.cannot is None)
        return NameChoice(name, (), f"no way: {_against(checked)}", tuple(_findings(name, checked)), possible)
    # Those that failed stay in the order of their failures: what looks open from here says little about them.
    ranked = sorted(usable, key=lambda way: (way.type in failed, way.type not in failed and not way.is_open))
    first = ranked[0]
    passed_over = checked[: checked.index(first)]
    return NameChoice(name, tuple(way.type for way in ranked), _why(first, passed_over, failed), first.findings)


def _why(first: CheckedWay, passed_over: Sequence[CheckedWay], failed: Sequence[str]) -> str:
    if not first.is_open:
        reason = f"{first.type}, with doubts ({first.findings[0].message})" if first.findings else first.type
    else:
        reason = f"{first.type} is open"
    parts = [reason]
    if passed_over:
        parts.append(f"not {_against(passed_over)}")
    if others := [each for each in dict.fromkeys(failed) if each != first.type]:
        parts.append(f"{listed(tuple(others))} failed at the CA")
    return "; ".join(parts)


def _against(ways: Sequence[CheckedWay]) -> str:
    """What is against each of these ways."""
    parts = []
    for way in ways:
        if way.cannot is not None:
            reason = way.cannot.reason
        else:
            reason = way.findings[0].message if way.findings else "it was not checked"
        parts.append(f"{way.type} ({reason})")
    return ", ".join(parts)


def _findings(name: str, checked: Sequence[CheckedWay]) -> list[PreflightFinding]:
    """Of every way, each once. That one can't prove the name at all counts only where nothing else is known, and above
    all what could be set up."""
    found = list(dict.fromkeys(finding for way in checked for finding in way.findings))
    if found:
        return found
    unable = [way.cannot for way in checked if way.cannot is not None]
    return [cannot_finding(name, each) for each in [each for each in unable if each.is_missing] or unable]
