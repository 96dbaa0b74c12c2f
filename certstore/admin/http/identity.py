"""Finds who sent a request, for pages and API alike: a user by the session's cookie, a program by its token.

A change sent with a cookie must also have the session's CSRF token, in a header or in the form. A request that names
an origin must name this console's.
"""

from __future__ import annotations

import hmac
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request

from certstore.admin.actions.action import Actions, Actor
from certstore.admin.http.problems import CsrfRefused, NotSignedIn
from certstore.people.sessions import Session

COOKIE = "__Host-certedge"
"""The prefix makes browsers require Secure, Path=/ and no Domain, so that no neighbouring host can set it."""

CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def actions_of(request: Request) -> Actions:
    return cast(Actions, request.app.state.actions)


def address_of(request: Request) -> str:
    return str(request.state.address)


def find_actor(request: Request) -> Actor | None:
    """The token's or the session's actor; None without a valid one."""
    actions = actions_of(request)
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        token = actions.access.tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            return None
        return Actor(f"token {token.name} ({token.key})", token.name, token.grant, address_of(request))
    secret = request.cookies.get(COOKIE, "")
    session = actions.access.sessions.find(secret) if secret else None
    if session is None:
        return None
    if (user := actions.access.users.find(session.user)) is None:
        return None
    return Actor(f"user {user.name}", user.name, user.grant, address_of(request), session)


def check_origin(request: Request) -> None:
    """Raises CsrfRefused for a request from a page of another origin."""
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        raise CsrfRefused
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise CsrfRefused


def check_csrf(session: Session, given: str) -> None:
    if not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
        raise CsrfRefused


def api_actor(request: Request) -> Actor:
    """Raises NotSignedIn, CsrfRefused."""
    actor = find_actor(request)
    if actor is None:
        raise NotSignedIn
    if actor.session is not None and request.method not in SAFE:
        check_origin(request)
        check_csrf(actor.session, request.headers.get(CSRF_HEADER, ""))
    return actor


ActionsDep = Annotated[Actions, Depends(actions_of)]
ApiActor = Annotated[Actor, Depends(api_actor)]
