"""Orders and preflight checks, which take longer than a request, with the steps they report.

A job belongs to a site: anyone who may see the site may see the job. Jobs live in memory only. An order that a restart
interrupts is resumed from the order journal by the maintenance loop, and the site's attempts record its outcome.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certstore.control.commands.results import OrderOutcome, OrderResult, PreflightResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action
from certstore.model.progress import Tell

AT_ONCE = 8
AT_ONCE_PER_CUSTOMER = 3
"""Jobs of an actor limited to some sites: one customer's slow servers must leave room for the checks of others."""
_KEPT = 200
_STEPS_KEPT = 500


@dataclass(slots=True)
class Job:
    """`result` is how the command ended, `failure` why it could not even be tried; both are None while it runs."""

    key: str
    site: str
    action: Action
    started_at: datetime
    steps: list[tuple[datetime, str]] = field(default_factory=list)
    result: OrderResult | PreflightResult | None = None
    failure: RequestFailed | None = None
    who: str = ""

    @property
    def is_over(self) -> bool:
        return self.result is not None or self.failure is not None

    @property
    def state(self) -> str:
        if self.failure is not None:
            return "failed"
        if self.result is None:
            return "running"
        is_done = isinstance(self.result, PreflightResult) or self.result.outcome is OrderOutcome.DONE
        return "done" if is_done else "failed"

    @property
    def message(self) -> str:
        """How the job ended, for the audit log."""
        if self.failure is not None:
            return self.failure.found
        return self.result.message if isinstance(self.result, OrderResult) else ""

    def to_json(self) -> dict[str, Any]:
        failure = self.failure
        return {
            "id": self.key,
            "site": self.site,
            "action": self.action.value,
            "state": self.state,
            "begun_at": self.started_at.isoformat(timespec="seconds"),
            "steps": [{"at": at.isoformat(timespec="milliseconds"), "message": text} for at, text in self.steps],
            "result": self.result.to_json() if self.result is not None else None,
            "failure": {"fault": failure.fault.value, "detail": failure.found, "remedy": failure.remedy}
            if failure is not None
            else None,
        }


Act = Callable[[Tell], OrderResult | PreflightResult]


class Jobs:
    """Used from several threads. `changed` is called whenever a job has news; `refused` counts those without room."""

    def __init__(self, clock: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._is_stopping = False
        self.refused = 0
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="console-job")

    def start(
        self, who: str, site: str, action: Action, act: Act, ended: Callable[[Job], None], *, most: int = AT_ONCE
    ) -> Job:
        """Raises RequestFailed (busy) if the same action already runs for the site, or too many jobs run."""
        with self._lock:
            running = [job for job in self._jobs.values() if not job.is_over]
            if any(job.site == site and job.action is action for job in running):
                raise RequestFailed(Fault.BUSY, f"this is already running for {site}", "follow the job that runs")
            if sum(job.who == who for job in running) >= most < AT_ONCE:
                self.refused += 1
                found = f"{most} of your orders and checks are running"
                raise RequestFailed(Fault.BUSY, found, "try again when one of them has ended")
            if len(running) >= AT_ONCE:
                self.refused += 1
                raise RequestFailed(Fault.BUSY, f"{AT_ONCE} orders and checks are running", "try again in a minute")
            job = Job(secrets.token_hex(16), site, action, self._clock(), who=who)
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
        """Start nothing new. Running jobs end when upkeep stops, which interrupts orders."""
        with self._lock:
            self._is_stopping = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, act: Act, ended: Callable[[Job], None]) -> None:
        def tell(message: str) -> None:
            if len(job.steps) < _STEPS_KEPT:
                job.steps.append((self._clock(), message))
            self._changed()

        result, failure = None, None
        try:
            result = act(tell)
        except RequestFailed as error:
            failure = error
        except Exception as error:  # noqa: BLE001  the followers must see an end, whatever happened
            failure = RequestFailed(Fault.INTERNAL, f"{type(error).__name__} (a fault in certedge itself)")
        with self._lock:
            if self._is_stopping and failure is not None:
                return  # interrupted, not failed
            job.result, job.failure = result, failure
        try:
            ended(job)
        finally:
            self._changed()
