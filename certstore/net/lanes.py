"""Questions to servers of strangers: each with a time of its own, on threads that nobody has to wait for.

A thread that waits for a stranger's server can't be stopped from outside. So these threads are daemons: who asked goes
on without the answer when the time is over or the process stops, and the end of the process does not wait for them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_LOOK_SECONDS = 0.1
"""How soon a request to stop is seen."""


class Budget:
    """A span of time that is spent from now on, and never longer than what is left of the one that it is part of."""

    def __init__(self, seconds: float, within: Budget | None = None) -> None:
        self.seconds = seconds if within is None else min(seconds, within.left)
        self._end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        return max(self._end - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        return self.left <= 0


@dataclass(slots=True)
class _Round[T, R]:
    work: Callable[[T], R]
    waiting: deque[tuple[int, T]]
    news: threading.Condition = field(default_factory=threading.Condition)
    results: dict[int, R] = field(default_factory=dict)
    failures: dict[int, BaseException] = field(default_factory=dict)

    def lane(self) -> None:
        while True:
            with self.news:
                if not self.waiting:
                    return
                position, item = self.waiting.popleft()
            result: Any = None
            failure: BaseException | None = None
            try:
                result = self.work(item)
            except BaseException as error:  # noqa: BLE001  raised again where the result is awaited
                failure = error
            with self.news:
                if failure is not None:
                    self.failures[position] = failure
                else:
                    self.results[position] = result
                self.news.notify_all()


def gather[T, R](
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    at_once: int,
    budget: Budget,
    check: Callable[[], None] = lambda: None,
) -> Iterator[R | None]:
    """The result for each item in turn; None for one that has none when the budget is spent.

    Raises what `work` raises. `check` is called about every tenth of a second and may raise to give up.
    """
    this = _Round(work, deque(enumerate(items)))
    for _ in range(min(at_once, len(items))):
        threading.Thread(target=this.lane, name="probe", daemon=True).start()
    try:
        for position in range(len(items)):
            yield _awaited(this, position, budget, check)
    finally:
        with this.news:
            this.waiting.clear()


def _awaited[T, R](this: _Round[T, R], position: int, budget: Budget, check: Callable[[], None]) -> R | None:
    while True:
        check()
        with this.news:
            if position not in this.results and position not in this.failures:
                this.news.wait(min(_LOOK_SECONDS, budget.left))
            if position in this.failures:
                raise this.failures[position]
            if position in this.results:
                return this.results[position]
        if budget.is_over:
            return None
