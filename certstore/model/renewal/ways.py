"""Which way each name of a site was proven, and which ways failed at the CA: what renewal remembers of them. Pure.

A failure is remembered until the CA has validated the name by the same way: its view counts, not that of a preflight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class WayFailure:
    """The CA could not validate the name by this challenge type. `is_past`: the site has had a certificate since."""

    name: str
    way: str
    at: datetime
    is_past: bool = False


@dataclass(frozen=True, slots=True)
class NameWay:
    """The challenge type that a name takes, "" where none can prove it, and why, for people."""

    name: str
    way: str
    why: str


def failed_by_name(failures: Iterable[WayFailure]) -> Mapping[str, tuple[str, ...]]:
    """The ways that failed for each name, the latest last."""
    found: dict[str, tuple[str, ...]] = {}
    for failure in sorted(failures, key=lambda each: each.at):
        found[failure.name] = (*found.get(failure.name, ()), failure.way)
    return found


def with_failure(failures: Iterable[WayFailure], failure: WayFailure) -> tuple[WayFailure, ...]:
    """A way that failed before has failed now."""
    return (*without_failure(failures, failure.name, failure.way), failure)


def without_failure(failures: Iterable[WayFailure], name: str, way: str) -> tuple[WayFailure, ...]:
    return tuple(each for each in failures if (each.name, each.way) != (name, way))


def next_way(name: str, ways: Collection[str], failures: Iterable[WayFailure]) -> str | None:
    """The first of the name's ways that has not failed in this row of failures."""
    failed = {each.way for each in failures if each.name == name and not each.is_past}
    return next((way for way in ways if way not in failed), None)
