"""Which processes there should be and what to do next: the supervisor's decisions, without system calls.

The supervisor reports what happened (started, ready, exited, reload, stop) and when; `decide` returns what to do now. A
`Fleet` never forks, signals or reads a clock, so tests can describe every course of events as a table. Times are
seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import inf

EARLY_EXIT_SECONDS = 10.0
"""A process that exits before this age counts as failing to start, one that exits later as crashed once."""

LONGEST_BACKOFF_SECONDS = 30.0
START_SECONDS = 120.0
"""A process that is not ready by then is considered hung: 50,000 sites load in less than 10 s."""

GRACE_SECONDS = 5.0
"""How long a process may exceed its own deadline before it is killed."""

QUIT_SECONDS = 2.0


class Role(StrEnum):
    CONTROL = "control"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """The place of one process; during a replacement a worker's slot has two."""

    role: Role
    number: int = 1

    def __str__(self) -> str:
        return f"{self.role} {self.number}" if self.role is Role.WORKER else str(self.role)


class Order(Enum):
    """How a process is told to stop."""

    RETIRE = "its replacement serves: drain"
    STOP = "the service ends: drain"
    QUIT = "end at once"
    KILL = "it does not end by itself"


@dataclass(frozen=True, slots=True)
class Start:
    slot: Slot
    generation: int


@dataclass(frozen=True, slots=True)
class Stop:
    pid: int
    order: Order


Action = Start | Stop


class Phase(Enum):
    STARTING = 1
    READY = 2
    LEAVING = 3


@dataclass(slots=True)
class Child:
    """A running process. `deadline` is when its current phase must have ended."""

    pid: int
    slot: Slot
    generation: int
    started: float
    deadline: float
    phase: Phase = Phase.STARTING
    last_order: Order | None = None
    has_sockets: bool = True
    """Whether it may still accept on the sockets of its generation."""


@dataclass(slots=True)
class _History:
    """The failures of a slot, and when it may be filled again."""

    failures: int = 0
    not_before: float = 0.0


def backoff(failures: int) -> float:
    """Seconds to wait after this many failures in a row: 0, 1, 2, 4, … 30."""
    return 0.0 if failures <= 1 else min(2.0 ** (failures - 2), LONGEST_BACKOFF_SECONDS)


class Fleet:
    """One control process and `workers` workers: keeps them running, replaces and stops them.

    `is_store_ready`: workers may start. It becomes true when control is ready; the owner also sets it when a store
    that was used before allows workers to start without control.
    """

    def __init__(self, workers: int, drain_seconds: float, *, is_store_ready: bool = False) -> None:
        self.generation = 1
        self.is_store_ready = is_store_ready
        self.is_stopping = False
        self.children: dict[int, Child] = {}
        self._workers = workers
        self._drain_seconds = drain_seconds
        self._is_urgent = False
        self._histories: dict[Slot, _History] = {}

    # What happened.

    def started(self, slot: Slot, pid: int, now: float) -> None:
        """A process was started for the slot, of the newest generation."""
        self.children[pid] = Child(pid, slot, self.generation, now, now + START_SECONDS)

    def adopt(self, child: Child) -> None:
        """A process that runs already, of the release before: it is older than all that start now."""
        child.generation = 0
        self.children[child.pid] = child

    def failed_to_start(self, slot: Slot, now: float) -> None:
        """The system refused to create a process."""
        self._note_failure(slot, 0.0, now)

    def ready(self, pid: int) -> None:
        """The process now does its work."""
        child = self.children.get(pid)
        if child is None or child.phase is not Phase.STARTING:
            return
        child.phase, child.deadline = Phase.READY, inf
        if child.slot.role is Role.CONTROL and child.generation == self.generation:
            self.is_store_ready = True

    def closed_sockets(self, pid: int) -> None:
        if (child := self.children.get(pid)) is not None:
            child.has_sockets = False

    def exited(self, pid: int, now: float) -> Child | None:
        """The process has ended; None when it is not ours. One that was told to stop has not failed."""
        child = self.children.pop(pid, None)
        if child is not None and child.phase is not Phase.LEAVING:
            self._note_failure(child.slot, now - child.started, now)
        return child

    def reload(self, workers: int, drain_seconds: float, *, is_store_ready: bool) -> None:
        """New settings: replace every process by one of a new generation; earlier failures are forgotten."""
        self.generation += 1
        self.is_store_ready = is_store_ready
        self._workers = workers
        self._drain_seconds = drain_seconds
        self._histories.clear()

    def stop(self) -> None:
        """The service ends: gracefully at the first call, immediately at the second."""
        self._is_urgent = self.is_stopping
        self.is_stopping = True

    # What to do.

    @property
    def is_settled(self) -> bool:
        """Every worker is ready and of the newest generation, and so is control, unless it has failed."""
        return all(self._is_filled(slot) or self._has_failed_control(slot) for slot in self._wanted())

    @property
    def is_complete(self) -> bool:
        """Every process is ready and of the newest generation."""
        return all(map(self._is_filled, self._wanted()))

    @property
    def has_ended(self) -> bool:
        return self.is_stopping and not self.children

    @property
    def oldest_listening(self) -> float:
        """The oldest generation with a worker that may still accept; infinite when there is none."""
        listening = [
            child.generation for child in self.children.values() if child.slot.role is Role.WORKER and child.has_sockets
        ]
        return min(listening, default=inf)

    def restarts_at(self, slot: Slot) -> float:
        """When the slot may be filled again."""
        return self._history(slot).not_before

    def decide(self, now: float) -> list[Action]:
        """What to do now. A `Start` must be answered by `started` or `failed_to_start`; a `Stop` counts as done."""
        actions: list[Action] = list(self._kill_overdue(now))
        actions += self._stop_all(now) if self.is_stopping else self._keep_running(now)
        return actions

    def next_deadline(self) -> float | None:
        """When to call `decide` again if nothing happens before."""
        moments = [child.deadline for child in self.children.values() if child.last_order is not Order.KILL]
        if not self.is_stopping:
            due = [slot for slot in self._wanted() if self._is_startable(slot)] + self._replaceable()
            moments += [self._history(slot).not_before for slot in due]
        first = min(moments, default=inf)
        return None if first == inf else first

    def _keep_running(self, now: float) -> Iterator[Action]:
        for slot in self._wanted():
            if self._is_startable(slot) and self._history(slot).not_before <= now:
                yield Start(slot, self.generation)
        yield from self._stop_outdated(now)
        for slot in self._replaceable():
            if self._history(slot).not_before <= now:
                yield Start(slot, self.generation)
                break

    def _is_startable(self, slot: Slot) -> bool:
        """The slot is empty, and only its backoff may delay a start."""
        if slot.role is Role.CONTROL:
            # A control process that is stopping may still hold the store's lock.
            return not any(child.slot == slot for child in self.children.values())
        return self.is_store_ready and self._holder(slot) is None

    def _stop_outdated(self, now: float) -> Iterator[Action]:
        """Stop old control before its successor starts, an old worker after, surplus workers once all are settled."""
        wanted = set(self._wanted())
        for child in list(self.children.values()):
            if child.phase is Phase.LEAVING:
                continue
            is_old = child.generation < self.generation
            is_surplus = child.slot not in wanted and self.is_settled
            if child.slot.role is Role.CONTROL:
                if is_old:
                    yield self._send(child, Order.STOP, now)
            elif is_surplus or (is_old and self._has_ready_successor(child)):
                yield self._send(child, Order.RETIRE, now)

    def _replaceable(self) -> list[Slot]:
        """Slots with a worker of an older generation; none while a worker starts, because the others carry the load."""
        holders = [
            holder for slot in self._wanted() if slot.role is Role.WORKER and (holder := self._holder(slot)) is not None
        ]
        if not self.is_store_ready or any(child.phase is Phase.STARTING for child in holders):
            return []
        return [child.slot for child in holders if child.generation < self.generation]

    def _kill_overdue(self, now: float) -> Iterator[Action]:
        for child in self.children.values():
            if child.deadline <= now and child.last_order is not Order.KILL:
                child.last_order = Order.KILL
                yield Stop(child.pid, Order.KILL)

    def _stop_all(self, now: float) -> Iterator[Action]:
        for child in self.children.values():
            if self._is_urgent and child.last_order not in (Order.QUIT, Order.KILL):
                yield self._send(child, Order.QUIT, now)
            elif child.phase is not Phase.LEAVING:
                yield self._send(child, Order.STOP, now)

    def _send(self, child: Child, order: Order, now: float) -> Stop:
        child.phase, child.last_order = Phase.LEAVING, order
        child.deadline = now + (QUIT_SECONDS if order is Order.QUIT else self._drain_seconds + GRACE_SECONDS)
        return Stop(child.pid, order)

    # Look-ups.

    def _wanted(self) -> list[Slot]:
        return [Slot(Role.CONTROL), *(Slot(Role.WORKER, number) for number in range(1, self._workers + 1))]

    def _holder(self, slot: Slot) -> Child | None:
        """The newest process of the slot that was not told to stop."""
        staying = [child for child in self.children.values() if child.slot == slot and child.phase is not Phase.LEAVING]
        return max(staying, key=lambda child: child.generation, default=None)

    def _is_filled(self, slot: Slot) -> bool:
        holder = self._holder(slot)
        return holder is not None and holder.phase is Phase.READY and holder.generation == self.generation

    def _has_failed_control(self, slot: Slot) -> bool:
        return slot.role is Role.CONTROL and self._history(slot).failures > 0

    def _has_ready_successor(self, child: Child) -> bool:
        holder = self._holder(child.slot)
        return holder is not None and holder.generation > child.generation and holder.phase is Phase.READY

    def _history(self, slot: Slot) -> _History:
        return self._histories.setdefault(slot, _History())

    def _note_failure(self, slot: Slot, age: float, now: float) -> None:
        history = self._history(slot)
        history.failures = history.failures + 1 if age < EARLY_EXIT_SECONDS else 1
        history.not_before = now + backoff(history.failures)
