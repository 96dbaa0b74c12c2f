"""What an order needs besides the CA, and how it waits for the CA."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import requests

from certstore.acme.challenge_kind import ChallengeKinds
from certstore.acme.network import OrderFailed, read_retry_after
from certstore.acme.order_journal import OrderJournal
from certstore.files.clock import Clock, utc_now
from certstore.model.progress import Tell, tell_nobody
from certstore.model.renewal.failure import Cause, Failure

POLLING_LIMIT = timedelta(minutes=5)
"""For the CA's part of one step. The next attempt resumes an order that takes longer."""
_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_GROWTH = 0.2, 5.0, 1.6
_LONGEST_RETRY_AFTER = 60.0


class Interrupted(Exception):
    """The process is being stopped. The journal knows how far the order came."""


@dataclass(frozen=True, slots=True)
class OrderContext:
    """`wait` returns True when the process is to stop. `tell` is for a person who watches.

    `note_order` and `note_failed` count towards the CA's limits. `note_failed` takes a name and the type by which the
    CA could not validate it, and `note_proven` the same of the type that succeeded. `ways` has the challenge types of
    each name, in the order to try them; a name that it lacks may be proven by any.
    """

    journal: OrderJournal
    kinds: ChallengeKinds
    wait: Callable[[float], bool]
    tell: Tell = tell_nobody
    note_order: Callable[[], None] = lambda: None
    note_failed: Callable[[str, str], None] = lambda name, way: None
    note_proven: Callable[[str, str], None] = lambda name, way: None
    ways: Mapping[str, Sequence[str]] = field(default_factory=dict)
    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep


class PollTimer:
    """Ever longer pauses between questions to the CA, no shorter than it asks for, up to the limit."""

    def __init__(self, context: OrderContext, waiting_for: str, *, grace: timedelta = timedelta()) -> None:
        """A request to stop has to wait for `grace`."""
        self._context = context
        self._waiting_for = waiting_for
        self._grace_ends = context.clock() + grace
        self._pause = _FIRST_PAUSE
        self._deadline = context.clock() + POLLING_LIMIT

    def wait(self, response: requests.Response | None) -> None:
        """`response` is the CA's last answer. Raises OrderFailed, Interrupted."""
        now = self._context.clock()
        if now >= self._deadline:
            minutes = POLLING_LIMIT.seconds // 60
            raise OrderFailed(Failure(Cause.CA_ERROR, f"{self._waiting_for} for more than {minutes} minutes"))
        wanted = read_retry_after(response)
        pause = self._pause
        if wanted is not None:
            pause = max(pause, min((wanted - now).total_seconds(), _LONGEST_RETRY_AFTER))
        self._pause = min(self._pause * _PAUSE_GROWTH, _LONGEST_PAUSE)
        if self._context.wait(pause):
            if now >= self._grace_ends:
                raise Interrupted
            self._context.sleep(min(pause, _LONGEST_PAUSE))
