"""All sites at a glance: how many have which status, what expires when, and the list to search, filter and sort."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from certstore.admin.actions import service, sites
from certstore.admin.actions.cluster import show_cluster
from certstore.admin.http.admission import PageRoute, needs
from certstore.admin.pages.charts import build_timeline, validity_bar
from certstore.admin.pages.rendering import PageVisit
from certstore.model.console import listing
from certstore.model.console.authorization import Action, Verdict, authorize
from certstore.model.console.listing import Order
from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

router = APIRouter(route_class=PageRoute)

PER_PAGE = 50


@router.get("/")
@needs(Action.SITES_LIST)
def overview(
    visit: PageVisit,
    search: Annotated[str, Query(max_length=200)] = "",
    standing: str = "",
    source: str = "",
    order: str = "",
    ends_from: str = "",
    ends_before: str = "",
    page: str = "1",
) -> Response:
    """Invalid query values are ignored, so that an old bookmark always shows something."""
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
    query = listing.Query(
        search=search,
        standing=SiteStatus(standing) if standing in list(SiteStatus) else None,
        source=Source(source) if source in list(Source) else None,
        order=Order(order) if order in list(Order) else Order.PROBLEMS,
        ends_from=_instant(ends_from),
        ends_before=_instant(ends_before),
        offset=(max(number, 1) - 1) * PER_PAGE,
        limit=PER_PAGE,
    )
    main, found = sites.list_sites(visit.actions, visit.actor, query)
    now = visit.actions.context.clock()
    pages = max(1, -(-found.total // PER_PAGE))
    given = {"search": search, "standing": standing, "source": source, "order": order}
    given |= {"ends_from": ends_from, "ends_before": ends_before}
    sees_service = authorize(visit.actor.grant, Action.SERVICE_VIEW) is Verdict.ALLOWED
    return visit.show(
        "overview.html",
        main=main,
        found=found,
        query=query,
        pages=pages,
        number=min(max(number, 1), pages),
        timeline=build_timeline(found.found, now),
        bar=lambda row: validity_bar(row.not_before, row.not_after, row.renews_at, now),
        address=lambda **changes: _address(given, changes),
        ca_check=visit.actions.reachability.latest() if sees_service else None,
        workers=service.list_workers(visit.actions, visit.actor) if sees_service else [],
        cluster=show_cluster(visit.actions, visit.actor) if sees_service else None,
        service_problems=service.list_problems(visit.actions, visit.actor) if sees_service else [],
        generation=visit.actions.index.view().generation,
        orders=list(Order),
    )


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _address(given: dict[str, str], changes: dict[str, Any]) -> str:
    """This page with a part of its query changed; empty values are left out."""
    merged = {key: str(value) for key, value in (given | changes).items() if value not in ("", None)}
    return f"/?{urlencode(merged)}" if merged else "/"
