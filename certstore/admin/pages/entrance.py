"""Sign-in, set-up links and sign-out."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from certstore.admin.actions import people
from certstore.admin.actions.people import SignInFailed
from certstore.admin.http.identity import COOKIE, ActionsDep, address_of, check_origin, find_actor
from certstore.admin.http.problems import CsrfRefused
from certstore.admin.pages.rendering import FormVisit, render, see_other
from certstore.control.protocol import RequestFailed
from certstore.model.console.people import InvalidPerson
from certstore.people.invitations import FIRST
from certstore.people.sessions import LONGEST, Session

router = APIRouter()

_BEFORE = "__Host-certedge-form"
"""Binds forms to the browser before there is a session, so that nobody can sign in somebody else's browser."""


@router.get("/signin")
def show_sign_in(request: Request, actions: ActionsDep, next: str = "/", ended: bool = False) -> Response:  # noqa: A002
    if find_actor(request) is not None:
        return see_other(_inside(next))
    message = "Your session has expired. Your last action was not carried out: sign in and try again." if ended else ""
    return _form(
        request,
        "signin.html",
        next=_inside(next),
        name="",
        message=message,
        needs_code=False,
        is_error=False,
        is_empty=actions.access.users.is_empty,
    )


@router.post("/signin")
def sign_in(
    request: Request,
    actions: ActionsDep,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    code: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002
    csrf: Annotated[str, Form()] = "",
) -> Response:
    _check_before(request, csrf)
    try:
        session = people.sign_in(actions, name, password, code, address_of(request))
    except SignInFailed as failed:
        status = 429 if failed.wait is not None else 401
        response = _form(
            request,
            "signin.html",
            status,
            next=_inside(next),
            name=name[:80],
            message=str(failed),
            needs_code=failed.needs_code,
            is_error=not failed.needs_code or bool(code),
            is_empty=actions.access.users.is_empty,
        )
        if failed.wait is not None:
            response.headers["Retry-After"] = str(max(1, round(failed.wait.total_seconds())))
        return response
    return _enter(session, _inside(next))


@router.get("/setup")
def show_set_up(request: Request, actions: ActionsDep, link: str = "") -> Response:
    invited = people.invited_user(actions, link)
    facts = {"link": link, "is_first": invited == FIRST, "name": invited or "", "is_good": invited is not None}
    return _form(request, "setup.html", 404 if invited is None else 200, message="", **facts)


@router.post("/setup")
def set_up(
    request: Request,
    actions: ActionsDep,
    link: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
    csrf: Annotated[str, Form()] = "",
) -> Response:
    _check_before(request, csrf)
    invited = people.invited_user(actions, link)
    facts = {"link": link, "is_first": invited == FIRST, "name": invited or name[:80], "is_good": invited is not None}
    try:
        if password != again:
            raise InvalidPerson("the two passwords differ")
        session = people.use_set_up_link(actions, link, name, password, address_of(request))
    except (InvalidPerson, RequestFailed) as error:
        return _form(request, "setup.html", 422, message=str(error), **facts)
    return _enter(session, "/")


@router.post("/signout")
def sign_out(visit: FormVisit, everywhere: Annotated[bool, Form()] = False) -> Response:
    people.sign_out(visit.actions, visit.actor, everywhere=everywhere)
    response = see_other("/signin")
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
    return response


def _form(request: Request, template: str, status: int = 200, **facts: object) -> Response:
    before = request.cookies.get(_BEFORE) or secrets.token_urlsafe(24)
    response = render(request, None, template, status, before=before, **facts)
    response.set_cookie(_BEFORE, before, secure=True, httponly=True, samesite="strict")
    return response


def _check_before(request: Request, given: str) -> None:
    """Raises CsrfRefused."""
    check_origin(request)
    kept = request.cookies.get(_BEFORE, "")
    if not kept or not hmac.compare_digest(kept.encode(), given.encode()):
        raise CsrfRefused


def _enter(session: Session, path: str) -> Response:
    response = see_other(path)
    age = int(LONGEST.total_seconds())
    response.set_cookie(COOKIE, session.secret, age, secure=True, httponly=True, samesite="strict")
    return response


def _inside(path: str) -> str:
    """The path to go to after sign-in: always this console, never another server (`//evil.test`, `/\\evil.test`)."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if is_ours else "/"
