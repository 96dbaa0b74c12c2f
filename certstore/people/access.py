"""Users, sessions, set-up links, tokens and the audit log, opened together.

The control process opens them once; the command line opens them for a single command when no control process runs. Both
hold the store's lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
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
        with ExitStack() as stack:
            yield cls(
                stack.enter_context(closing(Users(layout, clock))),
                stack.enter_context(closing(Sessions(layout, clock))),
                stack.enter_context(closing(Invitations(layout, clock))),
                stack.enter_context(closing(Tokens(layout, clock))),
                Audit(layout, clock),
            )
