"""What all actions share: each is authorized by the table, performed, and recorded in the audit log.

Pages and API translate; the other modules of this package perform. An actor limited to some sites gets the same answer
for any other site as for one that does not exist.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from certstore.admin.live.broadcast import Broadcast
from certstore.admin.live.jobs import Jobs
from certstore.admin.live.reachability import Reachability
from certstore.admin.live.site_index import SiteIndex
from certstore.admin.live.streams import Streams
from certstore.admin.live.uploads import Uploads
from certstore.control.commands.requests import CommandRequest
from certstore.control.commands.results import InstallResult, RemoveResult, SiteResult
from certstore.control.console import ConsoleContext
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
    """Who performs an action: `who` as in the audit log; `session` only for a browser."""

    who: str
    name: str
    grant: Grant
    address: str
    session: Session | None = field(default=None, repr=False)


class Denied(Exception):
    """The actor may not do this. Reveals nothing about a site."""

    def __init__(self, action: Action) -> None:
        super().__init__(f"you are not allowed to do this ({action.value})")
        self.action = action


class Conflict(Exception):
    """What the actor wants to change has changed since they saw it. The message says what to do."""


@dataclass(slots=True)
class AuditedAction:
    """A running action: what the audit log will say about it."""

    outcome: str = "done"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Actions:
    """Built once per control process."""

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
    """Held between reading a site's settings and changing them."""

    def check(self, actor: Actor, action: Action, site: str | None = None) -> None:
        """Raises Denied, or RequestFailed (not found) for a site that the actor may not know of."""
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
        """An action that changes something or reveals secrets: it is on record however it ends."""
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

    def perform[R: InstallResult | SiteResult | RemoveResult](
        self, actor: Actor, action: Action, site: str, request: CommandRequest[R], detail: str = ""
    ) -> R:
        """A command, audited with its message."""
        with self.audited(actor, action, site, detail) as audited:
            result = self.context.perform(request)
            audited.detail = result.message
        return result

    def entry(self, actor: Actor, action: Action, site: str) -> SiteEntry:
        """The site, if the actor may do this to it. Raises Denied, RequestFailed (not found)."""
        self.check(actor, action, site)
        try:
            return self.context.writer.site(site)
        except UnknownSite:
            raise no_site(site) from None

    def _note(self, actor: Actor, action: Action, site: str | None, outcome: str, detail: str) -> None:
        self.access.audit.note(actor.who, actor.address, action.value, site, outcome, detail)


def no_site(site: str) -> RequestFailed:
    return RequestFailed(Fault.NOT_FOUND, f"there is no site {shown(site)}", "the overview lists all sites")
