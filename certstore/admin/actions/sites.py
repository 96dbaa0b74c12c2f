"""Actions on sites: list, show, add, change and remove them; ask the listeners what they serve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certstore.admin.actions.action import Actions, Actor, Conflict, no_site
from certstore.control.commands.requests import AddSiteRequest, RemoveSiteRequest, SetSiteRequest
from certstore.control.commands.results import RemoveResult, SiteResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action, action_for_change
from certstore.model.console.listing import Page, Query, SiteRow, Table, select_page
from certstore.model.record import Record
from certstore.model.renewal.decision import RenewalReason
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.snapshot import MAIN, SiteEntry
from certstore.store.errors import UnknownSite
from certstore.store.status import SiteFacts, VersionFacts, history, site_facts
from certstore.verify.plan import Chains, CheckResult, plan, run_check

HANDSHAKE_SECONDS = 5.0
_HANDSHAKES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Renewal:
    """When the next order is due, and why. `state.next_attempt` is set after a failure, or while an order must wait."""

    state: RenewalState
    due: datetime | None
    reason: RenewalReason | None


SETTING_DEFAULTS: Mapping[str, Any] = SiteSettings.model_construct(host="").model_dump(mode="json")
"""Every key of site.yaml with its default."""


@dataclass(frozen=True, slots=True)
class SiteDetail:
    """Everything that a site's page shows from the store. `settings` is the content of site.yaml, `{}` without one."""

    row: SiteRow
    facts: SiteFacts
    entry: SiteEntry
    settings: dict[str, Any]
    etag: str
    versions: tuple[VersionFacts, ...]
    attempts: tuple[Record, ...]
    renewal: Renewal | None

    @property
    def effective(self) -> dict[str, Any]:
        """The settings with all defaults."""
        return {**SETTING_DEFAULTS, **self.settings}


def list_sites(actions: Actions, actor: Actor, query: Query) -> tuple[SiteRow | None, Page]:
    """The main site, if the actor may see it, and the page of other sites that the query asks for."""
    actions.check(actor, Action.SITES_LIST)
    view = actions.index.view()
    own = actor.grant.sites
    table = view.table if own is None else Table(row for row in view.table.rows if row.site in own)
    return view.main if actor.grant.reaches(MAIN) else None, select_page(table, query)


def show_site(actions: Actions, actor: Actor, site: str) -> SiteDetail:
    """Raises Denied, RequestFailed (not found) if there is none that the actor may know of."""
    entry = actions.entry(actor, Action.SITE_VIEW, site)
    writer = actions.context.writer
    try:
        facts = site_facts(writer, site, actions.context.clock())
        settings = settings_of(actions, site)
    except UnknownSite:
        raise no_site(site) from None
    row = actions.index.view().by_site.get(site)
    if row is None:
        actions.index.refresh()
        row = actions.index.view().by_site.get(site)
        if row is None:
            raise no_site(site)
    attempts = writer.records(site)[::-1]
    versions = tuple(history(writer, site))
    return SiteDetail(row, facts, entry, settings, etag_of(settings), versions, attempts, _renewal(actions, entry))


def settings_of(actions: Actions, site: str) -> dict[str, Any]:
    """Raises UnknownSite."""
    settings = actions.context.writer.settings(site)
    return {} if settings is None else settings.model_dump(mode="json", exclude_defaults=True)


def etag_of(settings: Mapping[str, Any]) -> str:
    """The ETag of a site's settings: a new one after every change."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]


def _renewal(actions: Actions, entry: SiteEntry) -> Renewal | None:
    upkeep = actions.context.upkeep()
    if entry.source is not Source.ACME or upkeep is None:
        return None
    state = upkeep.maintenance.memory.states().get(entry.site, FRESH)
    following = upkeep.maintenance.next_renewal(entry, state)
    return Renewal(state, following.due or following.next_attempt, following.reason)


def put_settings(
    actions: Actions,
    actor: Actor,
    site: str,
    wanted: Mapping[str, Any],
    *,
    if_match: str | None = None,
    must_be_new: bool = False,
) -> tuple[SiteResult, bool]:
    """Replace a site's settings, or add the site; also whether it is new. The same settings again change nothing.

    Raises Conflict if the settings are no longer those of `if_match`, Denied, RequestFailed.
    """
    with actions.edits:
        try:
            before = settings_of(actions, site)
        except UnknownSite:
            return _add(actions, actor, site, wanted, if_match), True
        actions.check(actor, Action.SITE_VIEW, site)
        if must_be_new:
            raise Conflict(f"the site {site} already exists")
        if if_match is not None and if_match != etag_of(before):
            raise Conflict("another user has changed this site since you opened it: review its current settings first")
        changes = {key: wanted.get(key) for key in {*before, *wanted} if wanted.get(key) != before.get(key)}
        changes = {key: value for key, value in changes.items() if value is not None or key in before}
        action = action_for_change(frozenset(changes))
        if not changes:
            actions.check(actor, action, site)
            entry = actions.context.writer.site(site)
            return SiteResult(site, entry.host, entry.names, entry.source, "nothing to change", ()), False
        return actions.perform(actor, action, site, SetSiteRequest(site, changes), _listed(changes)), False


def _add(actions: Actions, actor: Actor, site: str, wanted: Mapping[str, Any], if_match: str | None) -> SiteResult:
    if actor.grant.sites is not None:
        # An actor limited to some sites gets the same answer whether or not this one exists.
        actions.check(actor, Action.SITE_VIEW, site)
    if if_match is not None:
        raise Conflict(f"the site {site} was removed in the meantime")
    return actions.perform(actor, Action.SITE_ADD, site, AddSiteRequest(site, wanted))


def _listed(changes: Mapping[str, Any]) -> str:
    known = SiteSettings.model_fields
    return ", ".join(sorted(key if key in known else "an unknown key" for key in changes))


def remove_site(actions: Actions, actor: Actor, site: str) -> RemoveResult:
    actions.entry(actor, Action.SITE_REMOVE, site)
    return actions.perform(actor, Action.SITE_REMOVE, site, RemoveSiteRequest(site))


def verify_site(actions: Actions, actor: Actor, site: str) -> list[CheckResult]:
    """Ask every listener for this site's host by a handshake, as a client would."""
    entry = actions.entry(actor, Action.SITE_VERIFY, site)
    context = actions.context
    snapshot = context.writer.snapshot()
    settings = context.settings
    now = context.clock()
    every = plan(settings.listeners, snapshot, [entry], settings.trusted_proxies, now)
    checks = [check for check in every if check.probe.server_name is not None]
    if not checks:
        raise RequestFailed(Fault.INVALID, "edge.yaml has no listeners", "add some under `listeners:`")
    chains = Chains(context.writer.layout)
    with ThreadPoolExecutor(_HANDSHAKES_AT_ONCE, thread_name_prefix="handshake") as pool:
        return list(pool.map(lambda check: run_check(check, chains, HANDSHAKE_SECONDS, now), checks))
