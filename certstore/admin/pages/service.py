"""The service's settings, users and tokens, the user's own account, and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response, StreamingResponse

from certstore.admin.actions import people, service
from certstore.admin.actions.action import Actor
from certstore.admin.http.identity import ActionsDep
from certstore.admin.http.problems import problem_of
from certstore.admin.pages.rendering import FlashesDep, FormActor, PageActor, render, see_other
from certstore.admin.pages.words import sentence, split_list
from certstore.control.protocol import RequestFailed
from certstore.model.console.authorization import Action, Scope
from certstore.model.console.people import InvalidPerson, Role
from certstore.people.users import UnknownUser

router = APIRouter()


@router.get("/service")
def show_service(request: Request, actions: ActionsDep, actor: PageActor) -> Response:
    facts = service.show_service(actions, actor)
    return render(request, actor, "service.html", facts=facts, ca_check=actions.reachability.latest())


@router.post("/service/test-mail")
def send_test_mail(
    actions: ActionsDep, actor: FormActor, flashes: FlashesDep, to: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    try:
        result = service.send_test_mail(actions, actor, split_list(to))
    except RequestFailed as failure:
        flashes.add(actor, "failing", f"No mail was sent: {failure}")
        return see_other("/service")
    if result.sent:
        flashes.add(actor, "ok", f"Sent to the mail server for {', '.join(result.sent)}.")
    for refused in result.refused:
        flashes.add(actor, "failing", f"{refused.recipient} was refused: {refused.reason}")
    return see_other("/service")


@router.post("/service/account")
def register(
    actions: ActionsDep, actor: FormActor, flashes: FlashesDep, agree: Annotated[bool, Form()] = False
) -> Response:
    try:
        service.register_account(actions, actor, agree_to_terms=agree)
    except RequestFailed as failure:
        flashes.add(actor, "failing", f"No account was registered: {failure}")
    else:
        flashes.add(actor, "ok", "The account is registered.")
    return see_other("/service")


# Users and tokens


@router.get("/people")
def show_people(request: Request, actions: ActionsDep, actor: PageActor) -> Response:
    return _people(request, actions, actor)


@router.post("/people/users")
def put_user(
    request: Request,
    actions: ActionsDep,
    actor: FormActor,
    flashes: FlashesDep,
    name: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[Role, Form()] = Role.DOMAIN,
    sites: Annotated[str, Form(max_length=20_000)] = "",
) -> Response:
    try:
        user, is_new = people.put_user(actions, actor, name, role, tuple(split_list(sites.lower())))
    except (InvalidPerson, RequestFailed) as error:
        return _people(request, actions, actor, problem_of(error).detail, 422)
    if not is_new:
        flashes.add(actor, "ok", f"The role and sites of {user.name} were changed.")
        return see_other("/people")
    return _people(
        request, actions, actor, link=_link(request, people.invite(actions, actor, user.name)), user=user.name
    )


@router.post("/people/users/{name}/invite")
def invite(request: Request, actions: ActionsDep, actor: FormActor, name: str) -> Response:
    return _people(request, actions, actor, link=_link(request, people.invite(actions, actor, name)), user=name)


@router.post("/people/users/{name}/remove")
def remove_user(actions: ActionsDep, actor: FormActor, flashes: FlashesDep, name: str) -> Response:
    try:
        people.remove_user(actions, actor, name)
        flashes.add(actor, "ok", f"The user {name} was removed and signed out.")
    except (InvalidPerson, UnknownUser) as error:
        flashes.add(actor, "failing", sentence(str(error)))
    return see_other("/people")


@router.post("/people/tokens")
def add_token(
    request: Request,
    actions: ActionsDep,
    actor: FormActor,
    name: Annotated[str, Form(max_length=200)] = "",
    scope: Annotated[Scope, Form()] = Scope.READ,
    sites: Annotated[str, Form(max_length=20_000)] = "",
) -> Response:
    try:
        chosen = tuple(split_list(sites.lower())) or None
        made = people.add_token(actions, actor, name, scope, chosen)
    except (InvalidPerson, RequestFailed) as error:
        return _people(request, actions, actor, problem_of(error).detail, 422)
    return _people(request, actions, actor, token=made.text)


@router.post("/people/tokens/{key}/remove")
def remove_token(actions: ActionsDep, actor: FormActor, flashes: FlashesDep, key: str) -> Response:
    people.remove_token(actions, actor, key)
    flashes.add(actor, "ok", "The token was removed.")
    return see_other("/people")


def _people(
    request: Request,
    actions: ActionsDep,
    actor: Actor,
    message: str = "",
    status: int = 200,
    *,
    link: str = "",
    user: str = "",
    token: str = "",
) -> Response:
    """A link or a token is shown only in the answer to the request that created it."""
    users, tokens = people.list_users(actions, actor), people.list_tokens(actions, actor)
    facts = {"users": users, "tokens": tokens, "message": message, "link": link, "user": user, "token": token}
    return render(request, actor, "people.html", status, **facts)


def _link(request: Request, secret: str) -> str:
    return f"https://{request.headers['host']}/setup?link={secret}"


# The user's own account


@router.get("/profile")
def show_profile(request: Request, actions: ActionsDep, actor: PageActor) -> Response:
    return _profile(request, actions, actor)


@router.post("/profile/password")
def change_password(
    request: Request,
    actions: ActionsDep,
    actor: FormActor,
    flashes: FlashesDep,
    old: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    try:
        if new != again:
            raise InvalidPerson("the two new passwords differ")
        people.change_password(actions, actor, old, new)
    except InvalidPerson as error:
        return _profile(request, actions, actor, str(error), 422)
    flashes.add(actor, "ok", "Your password was changed. All your other sessions were signed out.")
    return see_other("/profile")


@router.post("/profile/codes")
def switch_codes(
    request: Request,
    actions: ActionsDep,
    actor: FormActor,
    flashes: FlashesDep,
    secret: Annotated[str, Form(max_length=100)] = "",
    code: Annotated[str, Form(max_length=20)] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    try:
        if secret:
            people.switch_codes_on(actions, actor, secret, code)
            flashes.add(actor, "ok", "Sign-in now requires a code.")
        else:
            people.switch_codes_off(actions, actor, password)
            flashes.add(actor, "ok", "Sign-in no longer requires a code.")
    except InvalidPerson as error:
        return _profile(request, actions, actor, str(error), 422, secret=secret)
    return see_other("/profile")


def _profile(
    request: Request, actions: ActionsDep, actor: Actor, message: str = "", status: int = 200, secret: str = ""
) -> Response:
    actions.check(actor, Action.PROFILE_VIEW)
    user = actions.access.users.get(actor.name)
    secret, uri = ("", "") if user.totp_secret else people.offer_codes(actions, actor, secret)
    sessions = people.list_sessions(actions, actor)
    facts = {"user": user, "secret": secret, "uri": uri, "sessions": sessions, "message": message}
    return render(request, actor, "profile.html", status, **facts)


# Audit


@router.get("/audit")
def show_audit(request: Request, actions: ActionsDep, actor: PageActor, before: str = "") -> Response:
    place = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    entries, earlier = service.read_audit(actions, actor, place, 100)
    return render(request, actor, "audit.html", entries=entries, earlier=earlier, is_first=place is None)


@router.get("/audit/export")
def export_audit(actions: ActionsDep, actor: PageActor) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(service.export_audit(actions, actor), 200, headers, "application/x-ndjson")
