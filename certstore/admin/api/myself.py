"""Whom the API takes the asker for, and a person's own account. Tokens have no account: those get 403 beyond `/me`."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from certstore.admin.actions import people
from certstore.admin.api.models import Me, Shape
from certstore.admin.http.identity import ActionsDep, ApiActor

router = APIRouter(prefix="/me", tags=["myself"])


class SessionShape(BaseModel):
    address: str
    made_at: datetime
    seen_at: datetime
    is_this: bool


class PasswordChange(Shape):
    present: str = Field(repr=False)
    new: str = Field(repr=False)


class CodesSecret(BaseModel):
    """`uri` is what authenticator apps open. Nothing is asked for at sign-in before a code of it was shown."""

    secret: str = Field(repr=False)
    uri: str = Field(repr=False)


class CodesOn(Shape):
    secret: str = Field(max_length=100, repr=False)
    code: str = Field(max_length=20)


class CodesOff(Shape):
    password: str = Field(repr=False)


@router.get("", summary="Whom the API takes you for, and what you may do")
def me(actor: ApiActor) -> Me:
    sites = None if actor.grant.sites is None else sorted(actor.grant.sites)
    return Me(who=actor.who, scope=actor.grant.scope, sites=sites)


@router.get("/sessions", summary="Where you are signed in, the last used first")
def sessions(actions: ActionsDep, actor: ApiActor) -> list[SessionShape]:
    own = actor.session.digest if actor.session is not None else ""
    return [
        SessionShape(address=each.address, made_at=each.made_at, seen_at=each.seen_at, is_this=each.digest == own)
        for each in people.list_sessions(actions, actor)
    ]


@router.delete("/sessions", status_code=204, summary="Sign out everywhere, here too")
def end_sessions(actions: ActionsDep, actor: ApiActor) -> Response:
    people.sign_out(actions, actor, everywhere=True)
    return Response(status_code=204)


@router.put("/password", status_code=204, summary="Another password; signs out everywhere else")
def change_password(actions: ActionsDep, actor: ApiActor, change: PasswordChange) -> Response:
    people.change_password(actions, actor, change.present, change.new)
    return Response(status_code=204)


@router.post("/codes", summary="A fresh secret for one-time codes; changes nothing")
def codes_secret(actions: ActionsDep, actor: ApiActor) -> CodesSecret:
    secret, uri = people.offer_codes(actions, actor)
    return CodesSecret(secret=secret, uri=uri)


@router.put("/codes", status_code=204, summary="Sign-in asks for one-time codes of this secret")
def switch_on(actions: ActionsDep, actor: ApiActor, codes: CodesOn) -> Response:
    people.switch_codes_on(actions, actor, codes.secret, codes.code)
    return Response(status_code=204)


@router.post("/codes/off", status_code=204, summary="Sign-in asks for no code any more")
def switch_off(actions: ActionsDep, actor: ApiActor, codes: CodesOff) -> Response:
    people.switch_codes_off(actions, actor, codes.password)
    return Response(status_code=204)
