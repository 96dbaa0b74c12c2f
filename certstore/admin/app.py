"""Assembles the web application: API, pages, health checks, and errors in the form that the client expects.

Built once per control process around the actions. `server` serves it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from certstore.admin.actions.action import Actions
from certstore.admin.api import certificates, cluster, myself, people, service, sites
from certstore.admin.api.examples import add_examples
from certstore.admin.api.models import ProblemDocument
from certstore.admin.http.guard import BodyTooLarge, Guard, Origins
from certstore.admin.http.identity import find_actor
from certstore.admin.http.probes import probe_routes
from certstore.admin.http.problems import EXPECTED, NotSignedIn, Problem, problem_of, response_of
from certstore.admin.pages import certificate, entrance, nodes, overview, site
from certstore.admin.pages import service as page_service
from certstore.admin.pages.rendering import STATIC, Flashes, render, see_other
from certstore.model.text import shown

logger = logging.getLogger(__name__)

API = "/api/v1"

_DESCRIPTION = """
The commands of `certedge` over HTTPS. Send a token (`Authorization: Bearer cet_…`, created under *Users* or with
`certedge admin token add`). A browser's session works too, with its CSRF token in `X-CSRF-Token`.

Errors are problem documents (RFC 9457): `detail` says what was found, `remedy` what to do.
"""


def build_app(actions: Actions) -> Guard:
    app = FastAPI(
        title="certedge",
        version="1",
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
    )
    app.state.actions = actions
    app.state.flashes = Flashes()
    describe = app.openapi
    app.openapi = lambda: add_examples(describe())  # type: ignore[method-assign]
    app.include_router(_api())
    for each in (entrance, overview, site, certificate, page_service, nodes):
        app.include_router(each.router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    app.include_router(probe_routes(actions))
    for error in EXPECTED:
        app.add_exception_handler(error, on_expected)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_unforeseen)
    writer = actions.context.writer
    return Guard(
        app,
        Origins.of(actions.context.settings, lambda: actions.index.view().main.names or (writer.site("main").host,)),
    )


def _api() -> APIRouter:
    problems: dict[int | str, dict[str, object]] = {
        status: {"model": ProblemDocument, "content": {"application/problem+json": {}}, "description": words}
        for status, words in {
            400: "Bad request",
            401: "No valid token or session",
            403: "Not allowed",
            404: "Not found, or not visible to you",
            409: "Conflict with the current state",
            412: "Changed in the meantime",
            413: "Too large",
            422: "Refused",
            502: "Another server failed",
            503: "Temporarily unavailable",
        }.items()
    }
    router = APIRouter(prefix=API, responses=problems)
    for each in (sites, certificates, myself, people, service, cluster):
        router.include_router(each.router)
    return router


async def healthz() -> JSONResponse:
    """The control process is alive. In the loop: it waits for no thread that uploads may keep busy."""
    return JSONResponse({"status": "ok"})


# Errors


def _answer(request: Request, problem: Problem) -> Response:
    """A problem document for the API, a page for browsers."""
    if request.url.path.startswith("/api/"):
        return response_of(problem)
    actor = find_actor(request)
    person = actor if actor is not None and actor.session is not None else None
    return render(request, person, "problem.html", problem.status, problem=problem, back=_page_before(request))


def _page_before(request: Request) -> str:
    """The page of the site that the form belongs to, otherwise the overview."""
    parts = request.url.path.split("/")
    return "/".join(parts[:3]) if len(parts) > 3 and parts[1] == "sites" else "/"


async def on_expected(request: Request, error: Exception) -> Response:
    if isinstance(error, NotSignedIn) and not request.url.path.startswith("/api/"):
        if request.method in ("GET", "HEAD"):
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return see_other("/signin", **({"next": path} if path != "/" else {}))
        return see_other("/signin", next=_page_before(request), ended="1")
    problem = problem_of(error)
    if problem.status == 500:
        logger.error("%s %s: %s", shown(request.method), shown(request.url.path), problem.detail)
    return await asyncio.to_thread(_answer, request, problem)


async def on_http(request: Request, error: Exception) -> Response:
    """The router's errors (no such path or method), and bodies that can't be parsed."""
    if getattr(request.state, "is_too_large", False):
        return await on_expected(request, BodyTooLarge())
    status = error.status_code if isinstance(error, HTTPException) else 500
    details = {404: "there is nothing at this address", 405: "this address does not support that method"}
    problem = Problem(status, "http", details.get(status, "the request is not valid"))
    return await asyncio.to_thread(_answer, request, problem)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Names the fields and what is allowed, never the values: a value may be a password."""
    if getattr(request.state, "is_too_large", False):
        return await on_expected(request, BodyTooLarge())
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [{"field": ".".join(map(str, each["loc"])), "found": str(each["msg"])} for each in errors[:20]]
    detail = "; ".join(f"{fault['field']}: {fault['found']}" for fault in faults)
    problem = Problem(422, "invalid", detail[:2000], more={"errors": faults})
    return await asyncio.to_thread(_answer, request, problem)


async def on_unforeseen(request: Request, error: Exception) -> Response:
    """A bug: logs its place and kind, not its message, which may quote the request."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s %s: %s at\n%s", shown(request.method), shown(request.url.path), type(error).__name__, where)
    return response_of(problem_of(error))
