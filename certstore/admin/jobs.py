"""Work that takes longer than a request: orders and preflights, step by step, for those who look on.

A job belongs to the site that it is about; who may see the site may see the job. Jobs live in memory: what an order
came to is on record in the store, and an order that a restart interrupts is picked up without its job.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certstore.admin.surroundings import Tell
from certstore.service.protocol import Fault, VerbFailed

AT_ONCE = 8
_KEPT = 200
_STEPS_KEPT = 500


@dataclass(slots=True)
class Job:
    """`result` are the verb's facts, `failure` why it could not even be tried; neither while it runs."""

    key: str
    site: str
    action: str
    begun_at: datetime
    steps: list[tuple[datetime, str]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    failure: VerbFailed | None = None

    @property
    def is_over(self) -> bool:
        return self.result is not None or self.failure is not None

    @property
    def state(self) -> str:
        if self.failure is not None:
            return "failed"
        if self.result is None:
            return "running"
        return "done" if self.result.get("outcome", "done") in ("done", "noted") else "failed"

    def to_json(self) -> dict[str, Any]:
        failure = self.failure
        return {
            "id": self.key,
            "site": self.site,
            "action": self.action,
            "state": self.state,
            "begun_at": self.begun_at.isoformat(timespec="seconds"),
            "steps": [{"at": at.isoformat(timespec="milliseconds"), "message": text} for at, text in self.steps],
            "result": self.result,
            "failure": {"fault": failure.fault.value, "detail": failure.found, "remedy": failure.remedy}
            if failure is not None
            else None,
        }


class Jobs:
    """Used from several threads; `changed` is called whenever a job has news."""

    def __init__(self, clock: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="console-job")

    def begin(self, site: str, action: str, act: Callable[[Tell], dict[str, Any]], ended: Callable[[Job], None]) -> Job:
        """Raises VerbFailed (busy) while the same work for the same site is under way, or too much is."""
        with self._lock:
            running = [job for job in self._jobs.values() if not job.is_over]
            if any(job.site == site and job.action == action for job in running):
                raise VerbFailed(Fault.BUSY, f"this is under way for {site} already", "look at how it goes on")
            if len(running) >= AT_ONCE:
                raise VerbFailed(Fault.BUSY, f"{AT_ONCE} orders and checks are under way", "try again in a minute")
            job = Job(secrets.token_hex(16), site, action, self._clock())
            self._jobs[job.key] = job
            for key in [key for key, each in self._jobs.items() if each.is_over][: max(len(self._jobs) - _KEPT, 0)]:
                del self._jobs[key]
        self._threads.submit(self._run, job, act, ended)
        return job

    def get(self, key: str) -> Job | None:
        with self._lock:
            return self._jobs.get(key)

    def running(self, site: str) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if job.site == site and not job.is_over]

    def stop(self) -> None:
        """Nothing new begins; what runs ends with the caretaker, which interrupts orders."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, act: Callable[[Tell], dict[str, Any]], ended: Callable[[Job], None]) -> None:
        def tell(message: str) -> None:
            if len(job.steps) < _STEPS_KEPT:
                job.steps.append((self._clock(), message))
            self._changed()

        try:
            job.result = act(tell)
        except VerbFailed as failure:
            job.failure = failure
        except Exception as error:  # noqa: BLE001  whoever looks on has to hear of the end, whatever it was
            job.failure = VerbFailed(Fault.INTERNAL, f"{type(error).__name__} (a fault in certedge itself)")
        try:
            ended(job)
        finally:
            self._changed()
