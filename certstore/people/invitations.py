"""One-time links by which a person chooses a password: for the first administrator, and for everybody who is invited.

Only a digest is kept. A link works once, for a limited time, and the next one for the same person ends it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.layout import Layout
from certstore.people.sessions import digest_of

LASTS = timedelta(days=3)
FIRST = ""
"""In place of a user's name: whoever opens the link becomes the first administrator, under a name of their choice."""


class Invitations:
    """Used from several threads. Raises OSError where the disk says no."""

    def __init__(self, layout: Layout, clock: Callable[[], datetime]) -> None:
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
        """Whom the link is for, while it is good."""
        with self._lock:
            facts = self._kept.get(digest_of(secret))
        if facts is None or datetime.fromisoformat(facts["until"]) <= self._clock():
            return None
        return str(facts["user"])

    def use(self, secret: str) -> str | None:
        """The same, and the link is used up."""
        with self._lock:
            user = self.find(secret)
            if user is not None:
                self._kept.drop(digest_of(secret))
            return user

    def withdraw(self, user: str) -> None:
        """The user's links are worth nothing any more."""
        with self._lock:
            for digest in [digest for digest, facts in self._kept.items() if facts["user"] == user]:
                self._kept.drop(digest)

    def close(self) -> None:
        self._kept.close()
