"""`/sites`: list, settings, versions, attempts and handshakes. `certificates` has the rest below it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel
from starlette.responses import JSONResponse
from starlette.responses import Response as PlainResponse

from certstore.admin.actions import sites
from certstore.admin.actions.sites import SiteDetail, etag_of
from certstore.admin.api.models import HOST, Attempt, CheckShape, SettingsShape, SiteList, SiteShape, VersionShape
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.control.commands.results import SiteResult
from certstore.model.console import listing
from certstore.model.console.authorization import Action
from certstore.model.console.listing import Order
from certstore.model.console.standing import SiteStatus
from certstore.model.settings.models import Source

router = APIRouter(prefix="/sites", tags=["sites"], route_class=ApiRoute)

SiteKey = Annotated[
    str, Path(description="The site's key.", examples=[HOST], max_length=253, pattern=r"^[a-z0-9][a-z0-9._-]*$")
]
IfNoneMatch = Annotated[str | None, Header(description="The ETag of an earlier answer: 304 while nothing has changed.")]
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Not changed since that answer"}}


def tagged(content: BaseModel, seen: str | None, **headers: str) -> PlainResponse:
    """The content, or 304 if the client has it already. The ETag is a digest of the answer itself, so that a restart,
    other rights or another query never match by mistake."""
    body = content.model_dump_json().encode()
    tag = hashlib.sha256(body).hexdigest()[:24]
    headers["ETag"] = f'W/"{tag}"'
    if seen is not None and (tag in seen or seen.strip() == "*"):
        return PlainResponse(status_code=304, headers=headers)
    return PlainResponse(body, 200, headers, "application/json")


@router.get("", summary="The sites that you may see, page by page", responses=UNCHANGED)
@needs(Action.SITES_LIST)
def list_sites(
    actions: ActionsDep,
    actor: ApiActor,
    search: Annotated[str, Query(max_length=200, description="Words that the key or the names contain.")] = "",
    standing: SiteStatus | None = None,
    source: Source | None = None,
    order: Order = Order.SITE,
    descending: bool = False,
    ends_from: datetime | None = None,
    ends_before: datetime | None = None,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=listing.PAGE_MOST)] = 50,
    if_none_match: IfNoneMatch = None,
) -> SiteList:
    query = listing.Query(
        search, standing, source, order, descending, aware(ends_from), aware(ends_before), offset, limit
    )
    main, page = sites.list_sites(actions, actor, query)
    facts = {"main": main, "sites": page.rows, "total": page.total, "offset": offset, "standings": page.standings}
    found = SiteList.model_validate(facts, from_attributes=True)
    return tagged(found, if_none_match, **{"X-Total-Count": str(page.total)})  # type: ignore[return-value]


def aware(instant: datetime | None) -> datetime | None:
    """A time without a zone is UTC."""
    return instant.replace(tzinfo=UTC) if instant is not None and instant.tzinfo is None else instant


@router.get("/{site}", summary="One site", responses=UNCHANGED)
@needs(Action.SITE_VIEW)
def show_site(actions: ActionsDep, actor: ApiActor, site: SiteKey, if_none_match: IfNoneMatch = None) -> SiteShape:
    """For `If-Match`, use the ETag of the site's settings."""
    detail = sites.show_site(actions, actor, site)
    return tagged(SiteShape.model_validate(site_facts(detail)), if_none_match)  # type: ignore[return-value]


def site_facts(detail: SiteDetail) -> dict[str, Any]:
    facts = detail.facts.to_json()
    renewal = None
    if (given := detail.renewal) is not None:
        state, fingerprint = given.state, facts["fingerprint"]
        window = state.window_for(fingerprint) if fingerprint else None
        renewal = {
            "due": given.due,
            "reason": given.reason,
            "waiting": state.waiting or None,
            "window_start": window.start if window is not None else None,
            "window_end": window.end if window is not None else None,
            "explanation_url": window.explanation_url if window is not None else None,
        }
        renewal |= {key: getattr(state, key) for key in ("failures", "failing_since", "next_attempt", "left_out")}
        renewal |= {key: getattr(state.failure, key, None) for key in ("cause", "detail", "remedy")}
    return facts | {"standing": detail.row.standing, "settings": detail.settings, "renewal": renewal}


@router.get("/{site}/settings", summary="The content of its site.yaml")
@needs(Action.SITE_VIEW)
def show_settings(actions: ActionsDep, actor: ApiActor, site: SiteKey, response: Response) -> dict[str, Any]:
    detail = sites.show_site(actions, actor, site)
    response.headers["ETag"] = f'"{detail.etag}"'
    return detail.settings


@router.put(
    "/{site}/settings",
    summary="Add a site, or replace its settings",
    responses={201: {"model": SiteResult, "description": "The site is new"}},
)
@needs(Action.SITE_SET_SOURCE)
def put_settings(
    actions: ActionsDep,
    actor: ApiActor,
    site: SiteKey,
    settings: SettingsShape,
    if_match: Annotated[
        str | None, Header(description="The ETag of the settings you saw; 412 if they changed.")
    ] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only if the site does not exist.")] = None,
) -> SiteResult:
    """Idempotent: the same settings again change nothing. `If-Match` protects changes that others made."""
    wanted = settings.model_dump(mode="json", exclude_unset=True)
    tag = if_match.strip().strip('"') if if_match is not None and if_match.strip() != "*" else None
    is_new_only = if_none_match is not None and if_none_match.strip() == "*"
    result, is_new = sites.put_settings(actions, actor, site, wanted, if_match=tag, must_be_new=is_new_only)
    etag = etag_of(sites.settings_of(actions, site))
    # Not the result itself: FastAPI would add `null` for what does not apply.
    return JSONResponse(result.to_json(), 201 if is_new else 200, {"ETag": f'"{etag}"'})  # type: ignore[return-value]


@router.delete("/{site}", status_code=204, summary="Remove a site")
@needs(Action.SITE_REMOVE)
def remove_site(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> None:
    """Its names get the main certificate, its versions stay in the archive, and its drop folder stays as it is."""
    sites.remove_site(actions, actor, site)


@router.get("/{site}/versions", summary="The versions that you can make live again, newest first")
@needs(Action.SITE_VIEW)
def show_versions(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> list[VersionShape]:
    detail = sites.show_site(actions, actor, site)
    return [VersionShape.model_validate(version.to_json()) for version in detail.versions]


@router.get("/{site}/attempts", summary="The last attempts, newest first")
@needs(Action.SITE_VIEW)
def show_attempts(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> list[Attempt]:
    detail = sites.show_site(actions, actor, site)
    return [Attempt.model_validate(record.to_json()) for record in detail.attempts]


@router.post("/{site}/handshakes", summary="What each listener serves for its host now, by handshake")
@needs(Action.SITE_VERIFY)
def verify_site(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> list[CheckShape]:
    return [CheckShape.model_validate(verdict.to_json()) for verdict in sites.verify_site(actions, actor, site)]
