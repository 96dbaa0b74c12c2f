"""Who is signed in: sessions by the digest of their secret, so that a copy of the store lets nobody in.

Sessions survive a restart of the control process. If the disk refuses to write, they are lost at the next restart, but
signing in still works: an administrator must be able to see that the disk is full.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from certstore.files.clock import Clock
from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.json_facts import decode, encode
from certstore.model.layout import Layout

logger = logging.getLogger(__name__)

IDLE = timedelta(hours=2)
LONGEST = timedelta(hours=12)
_NOTED_EVERY = timedelta(minutes=5)
_PER_USER = 20


@dataclass(frozen=True, slots=True)
class Session:
    """`secret` is the cookie's value, known only while its request is answered."""

    user: str
    made_at: datetime
    seen_at: datetime
    address: str
    digest: str = field(repr=False)
    secret: str = field(default="", repr=False)

    @property
    def csrf_token(self) -> str:
        """Valid for this session only; does not reveal the secret to anybody who reads the page."""
        return hmac.new(self.secret.encode(), b"csrf", hashlib.sha256).hexdigest()

    def is_over(self, now: datetime) -> bool:
        return now - self.seen_at >= IDLE or now - self.made_at >= LONGEST

    def to_json(self) -> dict[str, Any]:
        """All but the digest, which is the key, and the secret."""
        return {name: value for name, value in encode(self).items() if name not in ("digest", "secret")}

    @classmethod
    def from_json(cls, digest: str, facts: dict[str, Any]) -> Session:
        return decode(cls, {**facts, "digest": digest})


def digest_of(secret: str) -> str:
    """A plain digest is enough: the secret has 256 random bits, nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Sessions:
    """Used from several threads."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._lock = threading.RLock()
        self._kept = KeyedState(
            layout.sessions,
            layout.temporary,
            is_valid=is_read_by(lambda facts: Session.from_json("", facts).is_over(clock())),
        )
        self._clock = clock
        self._sessions = {digest: Session.from_json(digest, facts) for digest, facts in self._kept.items()}
        for session in [each for each in self._sessions.values() if each.is_over(clock())]:
            self._forget(session.digest)

    def begin(self, user: str, address: str) -> Session:
        """Always with a new secret, so an earlier cookie gains nothing (session fixation)."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        session = Session(user, now, now, address, digest_of(secret))
        with self._lock:
            self._keep(session)
            mine = sorted(self.of(user), key=lambda each: each.seen_at)
            for oldest in mine[:-_PER_USER]:
                self._forget(oldest.digest)
        return replace(session, secret=secret)

    def find(self, secret: str) -> Session | None:
        """The session of a cookie unless it is over; using a session extends it."""
        with self._lock:
            session, now = self._sessions.get(digest_of(secret)), self._clock()
            if session is None:
                return None
            if session.is_over(now):
                self._forget(session.digest)
                return None
            if now - session.seen_at >= _NOTED_EVERY:
                session = replace(session, seen_at=now)
                self._keep(session)
            return replace(session, secret=secret)

    def of(self, user: str) -> list[Session]:
        with self._lock:
            now = self._clock()
            return [each for each in self._sessions.values() if each.user == user and not each.is_over(now)]

    def end(self, digest: str) -> None:
        with self._lock:
            self._forget(digest)

    def end_all(self, user: str, *, but: str | None = None) -> int:
        """Sign the user out everywhere except in the session with the digest `but`; return how many ended."""
        with self._lock:
            ended = [each.digest for each in self._sessions.values() if each.user == user and each.digest != but]
            for digest in ended:
                self._forget(digest)
        return len(ended)

    def close(self) -> None:
        self._kept.close()

    def _keep(self, session: Session) -> None:
        self._sessions[session.digest] = session
        try:
            self._kept.put(session.digest, session.to_json(), is_durable=False)
        except OSError as error:
            logger.error("a session is kept in memory only: %s", error.strerror)

    def _forget(self, digest: str) -> None:
        self._sessions.pop(digest, None)
        try:
            self._kept.drop(digest)
        except OSError as error:
            logger.error("an ended session could not be removed from disk: %s", error.strerror)
