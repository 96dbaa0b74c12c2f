"""Hands ordered versions to the one thread that publishes, and waits there for its answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from certstore.cluster.engine import CreatedAt, EngineLost
from certstore.model.version import Version

WAIT_SECONDS = 30.0
"""Longer than any pause of the engine that the session outlives."""

type Publish = Callable[[Version, CreatedAt], str | None]


@dataclass(eq=False, slots=True)
class _Waiting:
    version: Version
    fence: CreatedAt
    done: threading.Event = field(default_factory=threading.Event)
    is_given_up: bool = False
    why_not: str | None = None
    error: Exception | None = None


class OrderQueue:
    """`wake` is called when something waits."""

    def __init__(self, wake: Callable[[], None], wait_seconds: float = WAIT_SECONDS) -> None:
        self._wake, self._wait_seconds = wake, wait_seconds
        self._waiting: deque[_Waiting] = deque()

    def publish(self, version: Version, fence: CreatedAt) -> str | None:
        """Why the version must not go live, None once the other nodes get it. From any thread.

        Raises EngineFailed, OSError. After EngineLost it may be published all the same; to ask again finds out.
        """
        waiting = _Waiting(version, fence)
        self._waiting.append(waiting)
        self._wake()
        if not waiting.done.wait(self._wait_seconds):
            waiting.is_given_up = True
            raise EngineLost(f"the engine did not take the certificate within {self._wait_seconds:g} s")
        if waiting.error is not None:
            raise waiting.error
        return waiting.why_not

    def run(self, publish: Publish) -> bool:
        """On the thread that publishes. Whether there was anything to do."""
        has_run = False
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.is_given_up:
                continue
            has_run = True
            try:
                waiting.why_not = publish(waiting.version, waiting.fence)
            except Exception as error:  # noqa: BLE001  it is for the thread that waits
                waiting.error = error
            waiting.done.set()
        return has_run
