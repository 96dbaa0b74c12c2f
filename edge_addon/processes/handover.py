"""What a supervisor hands to the release that takes its process over: sockets, children, pipes and settings.

The facts are JSON in a file of memory whose descriptor the environment names, as systemd does it for itself
(systemd-daemon-reexec). The pid stays, so children remain children, and every descriptor keeps its number. A release
reads what an older or a newer one wrote: unknown keys are ignored, and new ones have a default.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from certstore.model.json_facts import Kept
from edge_addon.listeners.listening import HeldSocket
from edge_addon.processes.fleet import Child, Order, Phase, Role, Slot

TAKE_OVER = "CERTEDGE_HANDOVER"
"""The variable that makes `certedge run` continue the work of its own process."""

TRY = "CERTEDGE_TRY_HANDOVER"
"""The variable that makes it only show that it could."""


@dataclass(frozen=True, slots=True)
class HeldChild(Kept):
    """A running child, with the name of its phase and of its last order. Times are of the system's monotonic clock."""

    pid: int
    role: Role
    number: int
    started: float
    deadline: float | None
    phase: str
    order: str | None
    has_sockets: bool
    status_fd: int | None
    """None once the child has closed it."""

    @classmethod
    def of(cls, child: Child, status_fd: int | None) -> HeldChild:
        deadline = None if child.deadline == float("inf") else child.deadline
        order = child.last_order.name if child.last_order is not None else None
        return cls(
            child.pid, child.slot.role, child.slot.number, child.started, deadline, child.phase.name, order,
            child.has_sockets, status_fd,
        )  # fmt: skip

    def child(self) -> Child:
        return Child(
            self.pid,
            Slot(self.role, self.number),
            0,
            self.started,
            float("inf") if self.deadline is None else self.deadline,
            Phase[self.phase],
            None if self.order is None else Order[self.order],
            self.has_sockets,
        )


@dataclass(frozen=True, slots=True)
class Handover(Kept):
    """`settings` is the text that runs, `begun` as in ServiceState. `previous` is the command that starts the release
    before once more, `failure` what the next one failed with, if this is the way back.
    """

    pid: int
    installation: str
    previous: tuple[str, ...]
    settings: str
    begun: int
    sockets: tuple[HeldSocket, ...]
    lifeline: tuple[int, int]
    """The descriptors to read from and to write to."""
    children: tuple[HeldChild, ...]
    failure: str = ""
    installed: tuple[str, ...] = ()
    """The command that starts whichever release is installed. The way back does not go by its name, so it is kept."""

    @property
    def descriptors(self) -> list[int]:
        """All that must stay open."""
        statuses = [each.status_fd for each in self.children if each.status_fd is not None]
        return [*(each.fd for each in self.sockets), *self.lifeline, *statuses]


@contextlib.contextmanager
def written(handover: Handover) -> Iterator[int]:
    """A descriptor of the facts; it does not outlive the block."""
    descriptor = os.memfd_create("certedge-handover")
    try:
        os.write(descriptor, json.dumps(handover.to_json()).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def take(environment: MutableMapping[str, str], variable: str) -> Handover | None:
    """Read the facts that this variable names, and clear it so that children don't. Raises ValueError and OSError."""
    named = environment.pop(variable, "")
    if not named:
        return None
    descriptor = int(named)
    try:
        size = os.fstat(descriptor).st_size
        handover = Handover.from_json(json.loads(os.pread(descriptor, size, 0)))
    finally:
        os.close(descriptor)
    if variable == TAKE_OVER and handover.pid != os.getpid():
        raise ValueError(f"{variable} is for process {handover.pid}")
    for each in handover.descriptors if variable == TAKE_OVER else ():
        os.set_inheritable(each, False)
    return handover


def execute(command: tuple[str, ...], handover: Handover) -> None:
    """Run this program in place of ours. Returns only by raising OSError, with everything as before."""
    with written(handover) as facts:
        kept = [facts, *handover.descriptors]
        try:
            for each in kept:
                os.set_inheritable(each, True)
            os.execve(command[0], command, {**os.environ, TAKE_OVER: str(facts)})  # noqa: S606  no shell is wanted
        finally:
            for each in kept:
                os.set_inheritable(each, False)
