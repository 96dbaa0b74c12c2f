"""Everything about who may come in, opened as one: users, sessions, set-up links, tokens, the audit log.

Control opens it once; the command line opens it for a single verb where no control runs. Both hold the store's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from certstore.model.layout import Layout
from certstore.people.audit import Audit
from certstore.people.invitations import Invitations
from certstore.people.sessions import Sessions
from certstore.people.tokens import Tokens
from certstore.people.users import Users

Clock = Callable[[], datetime]


def present() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Access:
    users: Users
    sessions: Sessions
    invitations: Invitations
    tokens: Tokens
    audit: Audit

    @classmethod
    @contextmanager
    def opened(cls, layout: Layout, clock: Clock = present) -> Iterator[Access]:
        """Raises OSError."""
        access = cls(
            Users(layout, clock),
            Sessions(layout, clock),
            Invitations(layout, clock),
            Tokens(layout, clock),
            Audit(layout, clock),
        )
        try:
            yield access
        finally:
            for each in (access.users, access.sessions, access.invitations, access.tokens):
                each.close()
