"""Who you are, and your own account. Tokens have no account: they get 403 for everything but `/me`."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from certstore.admin.actions import people
from certstore.admin.api.models import Me, Shape
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.model.console.authorization import Action

router = APIRouter(prefix="/me", tags=["myself"], route_class=ApiRoute)


class SessionShape(BaseModel):
    address: str
    made_at: datetime
    seen_at: datetime
    is_this: bool


class PasswordChange(Shape):
    present: str = Field(repr=False)
    new: str = Field(repr=False)


class CodesSecret(BaseModel):
    """`uri` is for authenticator apps. Sign-in requires codes only once you send one of this secret with
    `PUT /me/codes`."""

    secret: str = Field(repr=False)
    uri: str = Field(repr=False)


class CodesOn(Shape):
    secret: str = Field(max_length=100, repr=False)
    code: str = Field(max_length=20)


class CodesOff(Shape):
    password: str = Field(repr=False)


@router.get("", summary="Who you are, and what you may do")
def me(actor: ApiActor) -> Me:
    sites = None if actor.grant.sites is None else sorted(actor.grant.sites)
    return Me(who=actor.who, scope=actor.grant.scope, sites=sites)


@router.get("/sessions", summary="Your sessions, last used first")
@needs(Action.PROFILE_VIEW)
def sessions(actions: ActionsDep, actor: ApiActor) -> list[SessionShape]:
    own = actor.session.digest if actor.session is not None else ""
    return [
        SessionShape(address=each.address, made_at=each.made_at, seen_at=each.seen_at, is_this=each.digest == own)
        for each in people.list_sessions(actions, actor)
    ]


@router.delete("/sessions", status_code=204, summary="End all your sessions, this one included")
@needs(Action.PROFILE_CHANGE)
def end_sessions(actions: ActionsDep, actor: ApiActor) -> None:
    people.sign_out(actions, actor, everywhere=True)


@router.put("/password", status_code=204, summary="Change your password; ends your other sessions")
@needs(Action.PROFILE_CHANGE)
def change_password(actions: ActionsDep, actor: ApiActor, change: PasswordChange) -> None:
    people.change_password(actions, actor, change.present, change.new)


@router.post("/codes", summary="A new secret for one-time codes; changes nothing")
@needs(Action.PROFILE_VIEW)
def codes_secret(actions: ActionsDep, actor: ApiActor) -> CodesSecret:
    secret, uri = people.offer_codes(actions, actor)
    return CodesSecret(secret=secret, uri=uri)


@router.put("/codes", status_code=204, summary="Require one-time codes of this secret at sign-in")
@needs(Action.PROFILE_CHANGE)
def switch_on(actions: ActionsDep, actor: ApiActor, codes: CodesOn) -> None:
    people.switch_codes_on(actions, actor, codes.secret, codes.code)


@router.post("/codes/off", status_code=204, summary="No longer require one-time codes at sign-in")
@needs(Action.PROFILE_CHANGE)
def switch_off(actions: ActionsDep, actor: ApiActor, codes: CodesOff) -> None:
    people.switch_codes_off(actions, actor, codes.password)
