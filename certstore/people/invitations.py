"""One-time links with which a person chooses a password: the first administrator, and everybody who is invited.

Only a digest is kept. A link works once and for a limited time; a newer link for the same person invalidates it.
"""

from __future__ import annotations

import secrets
import threading
from datetime import datetime, timedelta

from certstore.files.clock import Clock
from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.layout import Layout
from certstore.people.sessions import digest_of

LASTS = timedelta(days=3)
FIRST = ""
"""In place of a user's name: the person who opens the link becomes the first administrator and chooses a name."""


class Invitations:
    """Used from several threads. Raises OSError if the disk refuses a change."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._lock = threading.RLock()
        self._kept = KeyedState(
            layout.invitations,
            layout.temporary,
            is_valid=is_read_by(lambda facts: (facts["user"], datetime.fromisoformat(facts["until"]) > clock())),
        )
        self._clock = clock

    def make(self, user: str) -> str:
        """The secret of a new link for this user."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self.withdraw(user)
            self._kept.put(digest_of(secret), {"user": user, "until": (self._clock() + LASTS).isoformat()})
        return secret

    def find(self, secret: str) -> str | None:
        """The user that the link is for, as long as it is valid."""
        with self._lock:
            facts = self._kept.get(digest_of(secret))
        if facts is None or datetime.fromisoformat(facts["until"]) <= self._clock():
            return None
        return str(facts["user"])

    def use(self, secret: str) -> str | None:
        """Like `find`, and the link no longer works."""
        with self._lock:
            user = self.find(secret)
            if user is not None:
                self._kept.drop(digest_of(secret))
            return user

    def withdraw(self, user: str) -> None:
        with self._lock:
            for digest in [digest for digest, facts in self._kept.items() if facts["user"] == user]:
                self._kept.drop(digest)

    def close(self) -> None:
        self._kept.close()
