"""The ways by which one attempt proves its names: what the preflight chose, and what the CA made of it.

A name that fails by one way goes on to the next that has not failed in this row of failures. So each way costs one
failed validation, however many attempts follow, until all have failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from certstore.files.clock import Clock
from certstore.model.challenge import SLOW_CHALLENGES
from certstore.model.renewal.choice import NameChoice, Ways, order_of, way_of
from certstore.model.renewal.preflight_facts import CannotProve
from certstore.model.renewal.state import RenewalState
from certstore.model.renewal.ways import NameWay, WayFailure, failed_by_name, next_way, with_failure, without_failure


class AttemptWays:
    """`types` are the challenge types of the site's settings, in their order; `barred` those it must not use."""

    def __init__(
        self, types: Sequence[str], state: RenewalState, clock: Clock, barred: Mapping[str, CannotProve] | None = None
    ) -> None:
        self._types = tuple(types)
        self._barred = barred or {}
        self._clock = clock
        self._failures = state.failed_ways
        self._choices: dict[str, NameChoice] = {}
        self._proven: dict[str, str] = {}
        self._failed_now: dict[str, str] = {}

    @property
    def wanted(self) -> Ways:
        """What the preflight is to look at."""
        return Ways(self._types, failed_by_name(self._failures), self._barred)

    def choose(self, choices: Iterable[NameChoice]) -> None:
        """What the preflight chose."""
        self._choices = {choice.name: choice for choice in choices}

    @property
    def of_order(self) -> Mapping[str, Sequence[str]]:
        """The ways of each name for the next order. Those that failed since the preflight come last."""
        failed = failed_by_name(self._failures)
        return {
            name: order_of(choice.ways or choice.last_resort, failed.get(name, ()) if name in self._failed_now else ())
            for name, choice in self._choices.items()
        }

    @property
    def is_slow(self) -> bool:
        """Whether a proof is likely to take minutes."""
        return any(choice.ways[0] in SLOW_CHALLENGES for choice in self._choices.values() if choice.ways)

    def note_failed(self, name: str, way: str) -> None:
        self._failures = with_failure(self._failures, WayFailure(name, way, self._clock()))
        self._failed_now[name] = way

    def note_proven(self, name: str, way: str) -> None:
        self._failures = without_failure(self._failures, name, way)
        self._proven[name] = way

    def next_of(self, name: str) -> str | None:
        """A way of the name that has not failed in this row."""
        choice = self._choices.get(name)
        ways = choice.ways or choice.last_resort if choice is not None else ()
        return next_way(name, ways, self._failures)

    def may_go_on(self, names: Sequence[str]) -> bool:
        """Whether another order for the names at fault makes sense: each failed at the CA, and has another way."""
        return bool(names) and all(name in self._failed_now and self.next_of(name) is not None for name in names)

    def settle(self, state: RenewalState) -> RenewalState:
        """With what is known of the names now. Names that the site no longer has are forgotten."""
        if not self._choices:
            return state
        failures = tuple(each for each in self._failures if each.name in self._choices)
        return replace(state, failed_ways=failures, ways=tuple(map(self._taken, self._choices.values())))

    def _taken(self, choice: NameChoice) -> NameWay:
        first = choice.ways[0] if choice.ways else ""
        proven = self._proven.get(choice.name)
        if proven is not None and proven != first:
            return NameWay(choice.name, proven, f"proven by {proven}, as {first or 'nothing else'} did not work")
        if proven is None and (failed := self._failed_now.get(choice.name)) is not None:
            then = self.next_of(choice.name)
            return NameWay(
                choice.name, then or first, f"{failed} failed at the CA{'' if then else ', like all others'}"
            )
        return way_of(choice)
