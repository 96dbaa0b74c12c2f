"""The service's settings, users and tokens, the user's own account, and the audit log."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form
from starlette.responses import Response, StreamingResponse

from certstore.admin.actions import people, service
from certstore.admin.http.admission import PageRoute, needs
from certstore.admin.http.problems import problem_of
from certstore.admin.pages.qr import qr_code
from certstore.admin.pages.rendering import FormVisit, PageVisit, Visit, see_other
from certstore.admin.pages.words import read_day, sentence, split_list
from certstore.control.protocol import RequestFailed
from certstore.model.console.authorization import Action, Scope
from certstore.model.console.people import InvalidPerson, Role, end_of_day
from certstore.people.audit_selection import AuditSelection
from certstore.people.users import UnknownUser

router = APIRouter(route_class=PageRoute)


@router.get("/service")
@needs(Action.SERVICE_VIEW)
def show_service(visit: PageVisit) -> Response:
    facts = service.show_service(visit.actions, visit.actor)
    return visit.show("service.html", facts=facts, ca_check=visit.actions.reachability.latest())


@router.post("/service/test-mail")
@needs(Action.NOTIFY_TEST)
def send_test_mail(visit: FormVisit, to: Annotated[str, Form(max_length=500)] = "") -> Response:
    try:
        result = service.send_test_mail(visit.actions, visit.actor, split_list(to))
    except RequestFailed as failure:
        visit.flash("failing", f"No mail was sent: {failure}")
        return see_other("/service")
    if result.sent:
        visit.flash("ok", f"Sent to the mail server for {', '.join(result.sent)}.")
    for refused in result.refused:
        visit.flash("failing", f"{refused.recipient} was refused: {refused.reason}")
    return see_other("/service")


@router.post("/service/account")
@needs(Action.ACCOUNT_REGISTER)
def register(visit: FormVisit, agree: Annotated[bool, Form()] = False) -> Response:
    try:
        service.register_account(visit.actions, visit.actor, agree_to_terms=agree)
    except RequestFailed as failure:
        visit.flash("failing", f"No account was registered: {failure}")
        return see_other("/service")
    return visit.done("/service", "The account is registered.")


# Users and tokens


@router.get("/people")
@needs(Action.USERS_VIEW)
def show_people(visit: PageVisit) -> Response:
    return _people(visit)


@router.post("/people/users")
@needs(Action.USER_CHANGE)
def put_user(
    visit: FormVisit,
    name: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[Role, Form()] = Role.DOMAIN,
    sites: Annotated[str, Form(max_length=20_000)] = "",
) -> Response:
    try:
        user, is_new = people.put_user(visit.actions, visit.actor, name, role, tuple(split_list(sites.lower())))
    except (InvalidPerson, RequestFailed) as error:
        return _people(visit, problem_of(error).detail, 422)
    if not is_new:
        return visit.done("/people", f"The role and sites of {user.name} were changed.")
    return invite(visit, user.name)


@router.post("/people/users/{name}/invite")
@needs(Action.USER_INVITE)
def invite(visit: FormVisit, name: str) -> Response:
    secret = people.invite(visit.actions, visit.actor, name)
    return _people(visit, link=f"https://{visit.request.headers['host']}/setup?link={secret}", user=name)


@router.post("/people/users/{name}/remove")
@needs(Action.USER_REMOVE)
def remove_user(visit: FormVisit, name: str) -> Response:
    try:
        people.remove_user(visit.actions, visit.actor, name)
        visit.flash("ok", f"The user {name} was removed and signed out.")
    except (InvalidPerson, UnknownUser) as error:
        visit.flash("failing", sentence(str(error)))
    return see_other("/people")


@router.post("/people/tokens")
@needs(Action.TOKEN_ADD)
def add_token(
    visit: FormVisit,
    name: Annotated[str, Form(max_length=200)] = "",
    scope: Annotated[Scope, Form()] = Scope.READ,
    sites: Annotated[str, Form(max_length=20_000)] = "",
    ends: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    try:
        chosen = tuple(split_list(sites.lower())) or None
        ends_at = end_of_day(ends) if ends else None
        _, text = people.add_token(visit.actions, visit.actor, name, scope, chosen, ends_at)
    except (InvalidPerson, RequestFailed) as error:
        return _people(visit, problem_of(error).detail, 422)
    return _people(visit, token=text)


@router.post("/people/tokens/{key}/remove")
@needs(Action.TOKEN_REMOVE)
def remove_token(visit: FormVisit, key: str) -> Response:
    people.remove_token(visit.actions, visit.actor, key)
    return visit.done("/people", "The token was removed.")


def _people(
    visit: Visit, message: str = "", status: int = 200, *, link: str = "", user: str = "", token: str = ""
) -> Response:
    """A link or a token is shown only in the answer to the request that created it."""
    users, tokens = people.list_users(visit.actions, visit.actor), people.list_tokens(visit.actions, visit.actor)
    facts = {"users": users, "tokens": tokens, "message": message, "link": link, "user": user, "token": token}
    return visit.show("people.html", status, **facts)


# The user's own account


@router.get("/profile")
@needs(Action.PROFILE_VIEW)
def show_profile(visit: PageVisit) -> Response:
    return _profile(visit)


@router.post("/profile/password")
@needs(Action.PROFILE_CHANGE)
def change_password(
    visit: FormVisit,
    old: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    try:
        if new != again:
            raise InvalidPerson("the two new passwords differ")
        people.change_password(visit.actions, visit.actor, old, new)
    except InvalidPerson as error:
        return _profile(visit, str(error), 422)
    return visit.done("/profile", "Your password was changed. All your other sessions were signed out.")


@router.post("/profile/codes")
@needs(Action.PROFILE_CHANGE)
def switch_codes(
    visit: FormVisit,
    secret: Annotated[str, Form(max_length=100)] = "",
    code: Annotated[str, Form(max_length=20)] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    try:
        if secret:
            people.switch_codes_on(visit.actions, visit.actor, secret, code)
            visit.flash("ok", "Sign-in now requires a code.")
        else:
            people.switch_codes_off(visit.actions, visit.actor, password)
            visit.flash("ok", "Sign-in no longer requires a code.")
    except InvalidPerson as error:
        return _profile(visit, str(error), 422, secret=secret)
    return see_other("/profile")


def _profile(visit: Visit, message: str = "", status: int = 200, secret: str = "") -> Response:
    visit.actions.check(visit.actor, Action.PROFILE_VIEW)
    user = visit.actions.access.users.get(visit.actor.name)
    secret, uri = ("", "") if user.totp_secret else people.offer_codes(visit.actions, visit.actor, secret)
    sessions = people.list_sessions(visit.actions, visit.actor)
    facts = {
        "user": user,
        "secret": secret,
        "uri": uri,
        "qr": qr_code(uri) if uri else None,
        "sessions": sessions,
        "message": message,
    }
    return visit.show("profile.html", status, **facts)


# Audit


@router.get("/audit")
@needs(Action.AUDIT_VIEW)
def show_audit(
    visit: PageVisit,
    before: str = "",
    who: str = "",
    action: str = "",
    site: str = "",
    since: str = "",
    until: str = "",
) -> Response:
    place = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    chosen = AuditSelection(who.strip()[:200], action[:100], site.strip()[:300], read_day(since), read_day(until))
    entries, earlier = service.read_audit(visit.actions, visit.actor, place, 100, chosen)
    fields = {"who": chosen.who, "action": chosen.action, "site": chosen.site}
    fields |= {"since": str(chosen.since or ""), "until": str(chosen.until or "")}
    filled = {name: value for name, value in fields.items() if value}

    def address(older_than: int | None = None) -> str:
        query = filled if older_than is None else {**filled, "before": str(older_than)}
        return f"/audit?{urlencode(query)}" if query else "/audit"

    facts: dict[str, Any] = {
        "entries": entries,
        "earlier": earlier,
        "chosen": chosen,
        "address": address,
        "is_filtered": bool(filled),
    }
    return visit.show("audit.html", is_first=place is None, **facts)


@router.get("/audit/export")
@needs(Action.AUDIT_VIEW)
def export_audit(visit: PageVisit) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(service.export_audit(visit.actions, visit.actor), 200, headers, "application/x-ndjson")
