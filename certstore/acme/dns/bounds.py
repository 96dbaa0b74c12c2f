"""The time for one piece of work at servers of others, which ends early when the process is to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from certstore.acme.order_context import Interrupted
from certstore.net.lanes import Budget, gather


def never(seconds: float) -> bool:
    return False


class Bounds:
    """`wait` takes seconds and returns True when the process is to stop. Methods raise Interrupted then."""

    def __init__(self, seconds: float, wait: Callable[[float], bool] = never, within: Budget | None = None) -> None:
        self.budget = Budget(seconds, within)
        self._wait = wait

    def within(self, seconds: float) -> Bounds:
        """A part of this time."""
        return Bounds(seconds, self._wait, self.budget)

    def check(self) -> None:
        if self._wait(0):
            raise Interrupted

    def pause(self, seconds: float) -> None:
        if self._wait(min(seconds, self.budget.left)):
            raise Interrupted

    def run[R](self, work: Callable[[float], R], seconds: float) -> R:
        """The result of `work`, which is told how many seconds it has. Raises TimeoutError, and what `work` raises.

        A thread that still waits for a server after that is left to itself: it ends with its own time.
        """
        own = Budget(seconds, self.budget)
        if own.is_over:
            raise TimeoutError
        found: list[R] = []
        next(gather(lambda each: found.append(work(each)), [own.left], at_once=1, budget=own, check=self.check))
        if not found:
            raise TimeoutError
        return found[0]

    def run_all[T, R](self, work: Callable[[T], R], items: Sequence[T], seconds: float) -> Iterator[R | None]:
        """The result for each item; None where the time was over first."""
        return gather(work, items, at_once=8, budget=Budget(seconds, self.budget), check=self.check)
