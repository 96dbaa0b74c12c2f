"""Where every action of console and API passes: authorized by the table, performed, put into the audit log.

The faces (pages, API) translate; the deeds (`deeds_*`) say what an action does; this module holds what they share.
Who is bound to sites and asks for another one gets the answer that a site which does not exist would give.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from certstore.admin.context import ConsoleContext
from certstore.admin.live.broadcast import Broadcast
from certstore.admin.live.jobs import Jobs
from certstore.admin.live.reachability import Reachability
from certstore.admin.live.site_index import SiteIndex
from certstore.admin.live.streams import Streams
from certstore.admin.live.uploads import Uploads
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action, Grant, Verdict, authorize
from certstore.model.snapshot import SiteEntry
from certstore.model.text import shown
from certstore.people.access import Access
from certstore.people.passwords import Passwords
from certstore.people.sessions import Session
from certstore.people.throttle import Throttle
from certstore.store.errors import UnknownSite


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: `who` as it stands in the audit log. `session` where a browser does."""

    who: str
    name: str
    grant: Grant
    address: str
    session: Session | None = field(default=None, repr=False)


class Denied(Exception):
    """The actor may not do this. Never says anything about a site."""

    def __init__(self, action: Action) -> None:
        super().__init__(f"{action.value} is not allowed with these rights")
        self.action = action


class Conflict(Exception):
    """What was to be changed is not as the actor has seen it; the message says what to do."""


@dataclass(slots=True)
class AuditedAction:
    """One action under way: what will stand in the audit log about it."""

    outcome: str = "done"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Actions:
    """Made once per control process."""

    context: ConsoleContext
    access: Access
    index: SiteIndex
    jobs: Jobs
    uploads: Uploads
    passwords: Passwords
    throttle: Throttle
    reachability: Reachability
    news: Broadcast
    streams: Streams
    edits: threading.Lock = field(default_factory=threading.Lock)
    """Held between looking at a site's settings and changing them."""

    def check(self, actor: Actor, action: Action, site: str | None = None) -> None:
        """Raises Denied, or VerbFailed (not found) for what the actor is not to know of."""
        verdict = authorize(actor.grant, action, site)
        if verdict is Verdict.ALLOWED:
            return
        self.access.audit.note(actor.who, actor.address, action.value, site, "denied")
        if verdict is Verdict.HIDDEN:
            raise no_site(site or "")
        raise Denied(action)

    @contextmanager
    def audited(
        self, actor: Actor, action: Action, site: str | None = None, detail: str = ""
    ) -> Iterator[AuditedAction]:
        """An action that changes something, or tells secrets of the whole: it is on record however it ends."""
        self.check(actor, action, site)
        audited = AuditedAction(detail=detail)
        try:
            yield audited
        except RequestFailed as failure:
            self._note(actor, action, site, "failed", f"{detail} {failure.found}")
            raise
        except Exception as error:
            self._note(actor, action, site, "failed", f"{detail} {type(error).__name__}")
            raise
        self._note(actor, action, site, audited.outcome, audited.detail)
        self.index.refresh()

    def entry(self, actor: Actor, action: Action, site: str) -> SiteEntry:
        """The site, when the actor may do this to it. Raises Denied, VerbFailed (not found)."""
        self.check(actor, action, site)
        try:
            return self.context.writer.site(site)
        except UnknownSite:
            raise no_site(site) from None

    def _note(self, actor: Actor, action: Action, site: str | None, outcome: str, detail: str) -> None:
        self.access.audit.note(actor.who, actor.address, action.value, site, outcome, detail)


def no_site(site: str) -> RequestFailed:
    return RequestFailed(Fault.NOT_FOUND, f"there is no site {shown(site)}", "look for it in the overview")
