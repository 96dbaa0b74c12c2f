"""Work that takes longer than a request: orders and preflights, step by step, for those who look on.

A job belongs to the site that it is about; who may see the site may see the job. What came of a job is in memory, and
of an order on record in the store too. What was asked for lies in the store while it is under way: a job that a restart
interrupted is begun again under its key, and whoever looked on goes on looking.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certstore.control.protocol import Fault, RequestFailed
from certstore.files.keyed_state import KeyedState
from certstore.model.progress import Tell

logger = logging.getLogger(__name__)

AT_ONCE = 8
BEGUN_AGAIN_WITHIN = timedelta(hours=1)
BEGUN_AGAIN_MOST = 3
"""A job that ends the service each time must not do so for ever."""

_KEPT = 200
_STEPS_KEPT = 500


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What was asked for, by whom, from where: enough to do it again. JSON-able."""

    site: str
    action: str
    who: str
    address: str
    options: Mapping[str, Any] = field(default_factory=dict)


Act = Callable[[JobRequest, Tell], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A job that the last process did not bring to an end."""

    key: str
    job_request: JobRequest
    begun_at: datetime
    times: int

    @classmethod
    def parse(cls, key: str, facts: Any) -> LeftOver:
        """As `Jobs` keeps it. Raises KeyError, TypeError, ValueError for what another release may have left."""
        return cls(key, JobRequest(**facts["errand"]), datetime.fromisoformat(facts["begun_at"]), int(facts["times"]))

    def is_worth_it(self, now: datetime) -> bool:
        return self.times < BEGUN_AGAIN_MOST and now - self.begun_at < BEGUN_AGAIN_WITHIN


def is_kept_job(facts: Any) -> bool:
    """Whether a value that was read from disk is one of ours: the console starts, whatever lies there."""
    try:
        LeftOver.parse("", facts)
    except (KeyError, TypeError, ValueError):
        return False
    return True


@dataclass(slots=True)
class Job:
    """`result` are the verb's facts, `failure` why it could not even be tried; neither while it runs."""

    key: str
    site: str
    action: str
    begun_at: datetime
    steps: list[tuple[datetime, str]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    failure: RequestFailed | None = None

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
    """Used from several threads; `changed` is called whenever a job has news. `kept` holds what is under way."""

    def __init__(self, clock: Callable[[], datetime], changed: Callable[[], None], kept: KeyedState) -> None:
        self._clock = clock
        self._changed = changed
        self._kept = kept
        self._is_stopping = False
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="console-job")

    def begin(
        self,
        job_request: JobRequest,
        act: Act,
        ended: Callable[[JobRequest, Job], None],
        *,
        after: LeftOver | None = None,
    ) -> Job:
        """Raises VerbFailed (busy) while the same work for the same site is under way, or too much is."""
        with self._lock:
            running = [job for job in self._jobs.values() if not job.is_over]
            if any(job.site == job_request.site and job.action == job_request.action for job in running):
                raise RequestFailed(
                    Fault.BUSY, f"this is under way for {job_request.site} already", "look at how it goes on"
                )
            if len(running) >= AT_ONCE:
                raise RequestFailed(Fault.BUSY, f"{AT_ONCE} orders and checks are under way", "try again in a minute")
            job = Job(secrets.token_hex(16), job_request.site, job_request.action, self._clock())
            if after is not None:
                job.key, job.begun_at = after.key, after.begun_at
                job.steps.append((self._clock(), "the service was restarted meanwhile: this is taken up again"))
            self._jobs[job.key] = job
            for key in [key for key, each in self._jobs.items() if each.is_over][: max(len(self._jobs) - _KEPT, 0)]:
                del self._jobs[key]
            self._keep(job, job_request, after.times + 1 if after is not None else 0)
        self._threads.submit(self._run, job, job_request, act, ended)
        return job

    def left_over(self) -> list[LeftOver]:
        """At the start, what was under way at the end of the process before; asked again, nothing."""
        found = []
        with self._lock:
            for key, facts in list(self._kept.items()):
                found.append(LeftOver.parse(key, facts))
                self._forget(key)
        return found

    def get(self, key: str) -> Job | None:
        with self._lock:
            return self._jobs.get(key)

    def running(self, site: str) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if job.site == site and not job.is_over]

    def stop(self) -> None:
        """Nothing new begins. What runs ends with the caretaker, which interrupts orders, and is left over for the next
        start."""
        with self._lock:
            self._is_stopping = True
            self._kept.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, job_request: JobRequest, act: Act, ended: Callable[[JobRequest, Job], None]) -> None:
        def tell(message: str) -> None:
            if len(job.steps) < _STEPS_KEPT:
                job.steps.append((self._clock(), message))
            self._changed()

        result, failure = None, None
        try:
            result = act(job_request, tell)
        except RequestFailed as error:
            failure = error
        except Exception as error:  # noqa: BLE001  whoever looks on has to hear of the end, whatever it was
            failure = RequestFailed(Fault.INTERNAL, f"{type(error).__name__} (a fault in certedge itself)")
        with self._lock:
            if self._is_stopping and failure is not None:
                return
            job.result, job.failure = result, failure
            self._forget(job.key)
        try:
            ended(job_request, job)
        finally:
            self._changed()

    def _keep(self, job: Job, job_request: JobRequest, times: int) -> None:
        try:
            self._kept.put(
                job.key, {"errand": asdict(job_request), "begun_at": job.begun_at.isoformat(), "times": times}
            )
        except OSError as error:
            logger.error("a restart would not take up %s of %s: %s", job.action, job.site, error.strerror)

    def _forget(self, key: str) -> None:
        try:
            self._kept.drop(key)
        except OSError as error:
            logger.error("a job that is over could not be removed from disk: %s", error.strerror)
