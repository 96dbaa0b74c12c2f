"""Users and API tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from certstore.admin.actions import people
from certstore.admin.api.models import Invitation, MadeTokenShape, TokenRequest, UserRequest
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.control.commands.results import TokenFacts, UserFacts
from certstore.model.console.authorization import Action

router = APIRouter(tags=["people"], route_class=ApiRoute)

UserName = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9._@+-]{0,62}[a-z0-9])?$", examples=["anna"])]
TokenKey = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("/users", summary="All users")
@needs(Action.USERS_VIEW)
def users(actions: ActionsDep, actor: ApiActor) -> list[UserFacts]:
    return [UserFacts.of(user) for user in people.list_users(actions, actor)]


@router.put(
    "/users/{name}", summary="Add a user, or change a user's role and sites", responses={201: {"model": UserFacts}}
)
@needs(Action.USER_CHANGE)
def put_user(
    actions: ActionsDep, actor: ApiActor, name: UserName, request: UserRequest, response: Response
) -> UserFacts:
    """A new user needs a set-up link to choose a password: create one with `POST /users/{name}/invitation`."""
    user, is_new = people.put_user(actions, actor, name, request.role, tuple(request.sites))
    response.status_code = 201 if is_new else 200
    return UserFacts.of(user)


@router.post("/users/{name}/invitation", summary="Create a set-up link; earlier ones become invalid")
@needs(Action.USER_INVITE)
def invite(actions: ActionsDep, actor: ApiActor, name: UserName) -> Invitation:
    return Invitation(path=f"/setup?link={people.invite(actions, actor, name)}")


@router.delete("/users/{name}", status_code=204, summary="Remove a user and end the user's sessions")
@needs(Action.USER_REMOVE)
def remove_user(actions: ActionsDep, actor: ApiActor, name: UserName) -> None:
    people.remove_user(actions, actor, name)


@router.get("/tokens", summary="All API tokens, without their secrets")
@needs(Action.TOKENS_VIEW)
def tokens(actions: ActionsDep, actor: ApiActor) -> list[TokenFacts]:
    return [TokenFacts.of(token) for token in people.list_tokens(actions, actor)]


@router.post("/tokens", status_code=201, summary="Create an API token")
@needs(Action.TOKEN_ADD)
def add_token(actions: ActionsDep, actor: ApiActor, request: TokenRequest) -> MadeTokenShape:
    sites = None if request.sites is None else tuple(request.sites)
    token, text = people.add_token(actions, actor, request.name, request.scope, sites, request.ends_at)
    return MadeTokenShape(token=TokenFacts.of(token), secret=text)


@router.delete("/tokens/{key}", status_code=204, summary="Remove an API token")
@needs(Action.TOKEN_REMOVE)
def remove_token(actions: ActionsDep, actor: ApiActor, key: TokenKey) -> None:
    people.remove_token(actions, actor, key)
