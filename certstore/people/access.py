"""Everything about who may come in, opened as one: users, sessions, set-up links, tokens, the audit log.

Control opens it once; the command line opens it for a single verb where no control runs. Both hold the store's lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from certstore.files.clock import Clock, utc_now
from certstore.model.layout import Layout
from certstore.people.audit import Audit
from certstore.people.invitations import Invitations
from certstore.people.sessions import Sessions
from certstore.people.tokens import Tokens
from certstore.people.users import Users


@dataclass(frozen=True, slots=True)
class Access:
    users: Users
    sessions: Sessions
    invitations: Invitations
    tokens: Tokens
    audit: Audit

    @classmethod
    @contextmanager
    def opened(cls, layout: Layout, clock: Clock = utc_now) -> Iterator[Access]:
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
