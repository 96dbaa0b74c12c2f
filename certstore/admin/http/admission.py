"""Decides before a request's body is read whether its sender may do at all what the address is for.

FastAPI reads and validates a whole body before it asks who sent it: a stranger could have megabytes parsed, and a
token without the right learned from 422 what a valid request looks like. Actions check the same rights again, some with
more knowledge: here the path is all that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from certstore.admin.actions.action import Actor
from certstore.admin.http.identity import SAFE, actions_of, api_actor, check_origin, find_actor
from certstore.admin.http.problems import NotSignedIn
from certstore.model.console.authorization import Action

_NEEDED = "needed_action"


def needs[F: Callable[..., Any]](action: Action) -> Callable[[F], F]:
    """Marks an endpoint with the least right that it needs, for the site in its path."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _NEEDED, action)
        return endpoint

    return mark


def needed_by(endpoint: Callable[..., Any]) -> Action | None:
    return getattr(endpoint, _NEEDED, None)


class _Route(APIRoute):
    """Refuses what needs no body to be refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def admitted(request: Request) -> Response:
            await run_in_threadpool(self._admit, request)
            return await handle(request)

        return admitted

    def find(self, request: Request) -> Actor:
        raise NotImplementedError

    def _admit(self, request: Request) -> None:
        actor = self.find(request)
        if (action := needed_by(self.endpoint)) is not None:
            actions_of(request).check(actor, action, request.path_params.get("site"))


class ApiRoute(_Route):
    """Raises NotSignedIn, CsrfRefused, Denied, RequestFailed (not found)."""

    def find(self, request: Request) -> Actor:
        return api_actor(request)


class PageRoute(_Route):
    """The same for pages, whose CSRF token is in the body and checked there."""

    def find(self, request: Request) -> Actor:
        actor = find_actor(request)
        if actor is None or actor.session is None:
            raise NotSignedIn
        if request.method not in SAFE:
            check_origin(request)
        return actor
