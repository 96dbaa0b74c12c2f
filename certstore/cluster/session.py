"""One way to the engine over all its members: it uses one at a time and moves on as soon as that one stops answering.

`start` begins a thread that keeps a lease and thereby asks the member once a second: a feed alone can't tell an idle
engine from one that is paused or cut off. Feeds follow to the next member and go on after their last revision. Reads
are repeated at another member; a commit is only if nothing of it can have been written.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from certstore.cluster.engine import (
    Batch,
    Compare,
    Engine,
    EngineFailed,
    EngineFull,
    EngineLost,
    EngineStatus,
    Following,
    LeaseGone,
    Op,
    Outcome,
    Reading,
    Unknown,
    WentBack,
)

LEASE_TTL = timedelta(seconds=10)
PING_SECONDS = 1.0
"""Between two pings; each may take as long as a member's own limit."""
_RETRY_SECONDS = 0.25
"""Between two attempts of a feed to find a member."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attachment:
    """How the session stands to the engine. `since` is of the clock `time.monotonic`."""

    is_attached: bool
    member: str
    """The endpoint in use, or the last one that was tried."""
    since: float
    reason: str = ""
    """Why it is not attached, or why there is no lease though it is."""


@dataclass(frozen=True, slots=True)
class _Lease:
    number: int
    until: float
    """After this instant (time.monotonic) it may have ended at the engine: counted from before the request."""


class Session:
    """An `Engine` over several, in order of preference. Thread-safe."""

    endpoint = "the engine"

    def __init__(
        self,
        members: Sequence[Engine],
        *,
        ttl: timedelta = LEASE_TTL,
        ping_seconds: float = PING_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = tuple(members)
        self._ttl, self._ping_seconds, self._monotonic = ttl, ping_seconds, monotonic
        self._lock = threading.Lock()
        self._place = 0
        self._lease: _Lease | None = None
        self._highest = 0
        """The highest revision that an answer has shown."""
        self._left_because = ""
        """Why the member was left that answered last."""
        self._restores = 0
        """How often the engine was seen to have gone back."""
        self._feeds: set[SessionFollowing] = set()
        self._attachment = Attachment(False, self._members[0].endpoint, monotonic(), "not yet asked")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- what holds now -----------------------------------------------------------------------------------------------

    @property
    def attachment(self) -> Attachment:
        return self._attachment

    @property
    def lease(self) -> int:
        """The lease that surely has not ended, or 0. A new number means that all keys of the old one are gone."""
        lease = self._lease
        return lease.number if lease is not None and self._monotonic() < lease.until else 0

    @property
    def highest(self) -> int:
        return self._highest

    def start(self) -> None:
        """Hold a lease and ask the member once a second, until `close`."""
        self._thread = threading.Thread(target=self._keep_asking, name="engine-session", daemon=True)
        self._thread.start()

    def abandon(self) -> None:
        self.member.abandon()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            feeds = list(self._feeds)
        for feed in feeds:
            feed.close()
        if self._lease is not None:
            with contextlib.suppress(EngineFailed):  # ends by itself too; this lets others take over at once
                self.member.revoke(self._lease.number)
        for member in self._members:
            member.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Engine -------------------------------------------------------------------------------------------------------

    def read(self, prefix: str, *, keys_only: bool = False) -> Reading:
        return self._current(lambda member: member.read(prefix, keys_only=keys_only))

    def get(self, keys: Sequence[str]) -> Reading:
        return self._current(lambda member: member.get(keys))

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        return self._current(lambda member: member.commit(compares, ops))

    def follow(self, prefix: str, after: int) -> SessionFollowing:
        """Outlives members: while none answers, its `next` returns None, and it raises EngineLost only once closed."""
        feed = SessionFollowing(self, prefix, after, self._restores)
        with self._lock:
            self._feeds = {each for each in self._feeds if not each.is_closed} | {feed}
        return feed

    def grant(self, ttl: timedelta) -> int:
        return self._anywhere(lambda member: member.grant(ttl))

    def keep(self, lease: int) -> timedelta:
        return self._anywhere(lambda member: member.keep(lease))

    def revoke(self, lease: int) -> None:
        self._anywhere(lambda member: member.revoke(lease))

    def status(self) -> EngineStatus:
        return self._anywhere(lambda member: member.status())

    # --- members ------------------------------------------------------------------------------------------------------

    @property
    def member(self) -> Engine:
        """The one in use."""
        return self._members[self._place]

    def move_from(self, member: Engine, reason: str) -> None:
        """Use the next member, unless another thread has moved already. Feeds at the old one break and move too."""
        with self._lock:
            if member is not self.member:
                return
            self._place = (self._place + 1) % len(self._members)
            self._left_because = self._left_because or reason
            feeds = list(self._feeds)
        member.abandon()  # who waits for it there would wait longer than the next member needs
        for feed in feeds:
            feed.leave(member)

    def _anywhere[T](self, ask: Callable[[Engine], T]) -> T:
        """Ask the members in turn, beginning with the one in use, until one answers."""
        lost = EngineLost("the engine has no member")
        for _ in self._members:
            member = self.member
            try:
                return ask(member)
            except EngineLost as error:
                lost = error
                self.move_from(member, str(error))
        raise lost

    def _current[T: (Reading, Outcome)](self, ask: Callable[[Engine], T]) -> T:
        """`_anywhere`, for answers that are never older than what was known when the question was sent."""
        before = self._highest
        answer = self._anywhere(ask)
        if not isinstance(answer, Unknown):
            self.note(answer.revision, before)
        return answer

    def note(self, revision: int, before: int = 0) -> None:
        """An answer's revision; `before` is what was the highest when its question was sent."""
        with self._lock:
            if revision < before:
                self._highest = revision
                self._restores += 1
                logger.warning("cluster: the engine went back from revision %d to %d", before, revision)
            else:
                self._highest = max(self._highest, revision)

    def went_back_since(self, restores: int) -> bool:
        return self._restores != restores

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _keep_asking(self) -> None:
        while not self._stop.is_set():
            try:
                self._ping_all()
            except Exception as error:
                # Without this thread the lease would end, and nobody would notice that the engine is away.
                logger.exception("cluster: the engine could not be asked")
                self._detach(f"a fault of this program ({type(error).__name__})")
            self._stop.wait(self._ping_seconds)

    def _ping_all(self) -> None:
        """Find a member that keeps our lease, beginning with the one in use."""
        reason = ""
        for _ in self._members:
            member = self.member
            try:
                reason = self._ping(member)
            except EngineFailed as error:
                reason = str(error)
                self.move_from(member, reason)
                if self._stop.is_set():
                    return
            else:
                self._attach(member, reason)
                return
        self._detach(reason)

    def _ping(self, member: Engine) -> str:
        """Why there is no lease, though the member answers."""
        asked = self._monotonic()
        if self._lease is not None:
            try:
                self._lease = _Lease(self._lease.number, asked + member.keep(self._lease.number).total_seconds())
                return ""
            except LeaseGone:
                logger.warning("cluster: the engine ended this node's lease")
                self._lease = None
        try:
            self._lease = _Lease(member.grant(self._ttl), asked + self._ttl.total_seconds())
        except EngineFull as error:
            return str(error)
        return ""

    def _attach(self, member: Engine, reason: str) -> None:
        was, left_because = self._attachment, self._left_because
        self._left_because = ""
        if not was.is_attached:
            logger.info("cluster: attached to the engine at %s", member.endpoint)
        elif was.member != member.endpoint:
            logger.warning("cluster: moved to the engine's member %s: %s", member.endpoint, left_because)
        if (was.is_attached, was.member, was.reason) != (True, member.endpoint, reason):
            since = was.since if was.is_attached else self._monotonic()
            self._attachment = Attachment(True, member.endpoint, since, reason)

    def _detach(self, reason: str) -> None:
        was = self._attachment
        if was.is_attached:
            logger.warning("cluster: no member of the engine answers: %s", reason)
        since = self._monotonic() if was.is_attached else was.since
        self._attachment = Attachment(False, self.member.endpoint, since, reason)


class SessionFollowing:
    """A feed over whichever member the session uses."""

    def __init__(self, session: Session, prefix: str, after: int, restores: int) -> None:
        self._session = session
        self._prefix = prefix
        self._after = after
        self._restores = restores
        self._lock = threading.Lock()
        self._inner: Following | None = None
        self._inner_member: Engine | None = None
        self._closing = threading.Event()

    @property
    def is_closed(self) -> bool:
        return self._closing.is_set()

    def next(self, timeout: float) -> Batch | None:
        until = time.monotonic() + timeout
        while True:
            if self.is_closed:
                raise EngineLost("the feed was closed")
            if self._session.went_back_since(self._restores):
                raise WentBack(f"the engine is at an older revision than it was: {self._session.highest}")
            left = until - time.monotonic()
            try:
                batch = self._follow().next(max(0.0, left))
            except EngineLost as error:
                self._leave_lost(str(error))
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._closing.wait(min(left, _RETRY_SECONDS))
                continue
            if batch is not None:
                self._after = batch.revision
                self._session.note(batch.revision)
            return batch

    def leave(self, member: Engine) -> None:
        """Break the feed at this member: `next` finds another one."""
        with self._lock:
            inner = self._inner if self._inner_member is member else None
        if inner is not None:
            inner.close()

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> Following:
        with self._lock:
            if self._inner is not None:
                return self._inner
        member = self._session.member
        try:
            inner = member.follow(self._prefix, self._after)
        except EngineLost as error:
            self._session.move_from(member, str(error))
            raise
        with self._lock:
            self._inner, self._inner_member = inner, member
        if self.is_closed or self._session.member is not member:  # moved meanwhile: nobody would break this feed
            self._drop(inner)
            raise EngineLost(f"{member.endpoint}: the session moved on")
        return inner

    def _leave_lost(self, reason: str) -> None:
        with self._lock:
            inner, member = self._inner, self._inner_member
        if inner is not None and member is not None:
            self._drop(inner)
            self._session.move_from(member, reason)

    def _drop(self, inner: Following) -> None:
        inner.close()
        with self._lock:
            if self._inner is inner:
                self._inner = None
