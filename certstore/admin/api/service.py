"""The service: settings that matter to certificates, CA account, test mail, audit log, event stream."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from certstore.admin.actions import service
from certstore.admin.actions.service import ServiceFacts
from certstore.admin.api.events import event_response, follow_sites
from certstore.admin.api.models import AuditPage, Recipients, Terms
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.control.commands.results import AccountsResult
from certstore.model.console.authorization import Action
from certstore.people.audit_selection import AuditSelection

router = APIRouter(tags=["service"], route_class=ApiRoute)

_SHOWN_OF_ACME = {"directory", "second_directory", "agree_to_terms", "contact", "key_type", "profile"}


@router.get("/service", summary="Listeners, ACME and notification settings, accounts at the CAs")
@needs(Action.SERVICE_VIEW)
def show(actions: ActionsDep, actor: ApiActor) -> dict[str, Any]:
    return service_json(service.show_service(actions, actor))


def service_json(facts: ServiceFacts) -> dict[str, Any]:
    settings = facts.settings
    smtp = settings.notify.smtp
    return {
        "release": facts.release,
        "listeners": [{"kind": each.kind.value, "listen": str(each.listen)} for each in settings.listeners],
        "acme": settings.acme.model_dump(mode="json", include=_SHOWN_OF_ACME),
        "notify": {
            "to": list(settings.notify.to),
            "from": settings.notify.sender,
            "server": f"{smtp.host}:{smtp.port} ({smtp.security})" if smtp is not None else None,
        },
        "accounts": AccountsResult(facts.accounts).to_json()["accounts"],
        "workers": [
            {
                "pid": worker.pid,
                "heard_of": worker.reported_at.isoformat(timespec="seconds"),
                "is_draining": worker.is_draining,
                "is_up_to_date": worker.is_up_to_date,
                "unloadable": [each.message for each in worker.unloadable],
            }
            for worker in facts.workers
        ],
        "problems": [each.to_json() for each in facts.problems],
    }


@router.post("/service/account", summary="Register an account at every configured CA")
@needs(Action.ACCOUNT_REGISTER)
def register(actions: ActionsDep, actor: ApiActor, terms: Terms) -> dict[str, Any]:
    return service.register_account(actions, actor, agree_to_terms=terms.agree_to_terms).to_json()


@router.post("/service/test-mail", summary="Send a test mail")
@needs(Action.NOTIFY_TEST)
def test_mail(actions: ActionsDep, actor: ApiActor, recipients: Recipients) -> dict[str, Any]:
    return service.send_test_mail(actions, actor, recipients.to).to_json()


@router.get("/audit", summary="The audit log, newest first")
@needs(Action.AUDIT_VIEW)
def audit(
    actions: ActionsDep,
    actor: ApiActor,
    before: Annotated[int | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    who: Annotated[str, Query(max_length=200, description="A part of the actor's name or address.")] = "",
    action: Annotated[str, Query(max_length=100, description="The code of an action, such as `cert.order`.")] = "",
    site: Annotated[str, Query(max_length=300, description="A part of a site's name.")] = "",
    since: Annotated[date | None, Query(description="First day, in UTC.")] = None,
    until: Annotated[date | None, Query(description="Last day, in UTC.")] = None,
) -> AuditPage:
    """A page looks at 20,000 entries at most: with a filter it may have few entries, and yet a next page."""
    chosen = AuditSelection(who, action, site, since, until)
    entries, earlier = service.read_audit(actions, actor, before, limit, chosen)
    return AuditPage.model_validate({"entries": entries, "before": earlier})


@router.get("/audit.jsonl", summary="The whole audit log, one JSON object per line", response_class=StreamingResponse)
@needs(Action.AUDIT_VIEW)
def export(actions: ActionsDep, actor: ApiActor) -> StreamingResponse:
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    content = service.export_audit(actions, actor)
    return StreamingResponse(content, media_type="application/x-ndjson", headers=headers)


@router.get("/events", summary="Changes of sites, as server-sent events", response_class=StreamingResponse)
@needs(Action.SITES_LIST)
def events(actions: ActionsDep, actor: ApiActor) -> StreamingResponse:
    actions.check(actor, Action.SITES_LIST)
    return event_response(actions, actor, follow_sites(actions.index, actions.news))
