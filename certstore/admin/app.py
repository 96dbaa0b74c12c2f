"""The web application, put together: API, pages, health, errors in the form that the client asked for.

Made once per control process around a desk. Serving it is `server`'s job.
"""

from __future__ import annotations

import logging
import traceback

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from certstore.admin.api import certificates, people, service, sites
from certstore.admin.api.models import ProblemDocument
from certstore.admin.desk import Desk
from certstore.admin.guard import Guard, Origins
from certstore.admin.problems import EXPECTED, Problem, problem_of, response_of

logger = logging.getLogger(__name__)

API = "/api/v1"

_DESCRIPTION = """
The verbs of `certedge` over HTTPS. Send a token (`Authorization: Bearer cet_…`, made under *People* or with
`certedge admin token add`); a browser's session works too, with its CSRF token in `X-CSRF-Token`.

Errors are problem documents (RFC 9457): `detail` says what was found, `remedy` what to do.
"""


def build_app(desk: Desk) -> ASGIApp:
    app = FastAPI(
        title="certedge",
        version="1",
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
    )
    app.state.desk = desk
    app.include_router(_api())
    app.add_api_route("/healthz", healthz, include_in_schema=False)
    for error in EXPECTED:
        app.add_exception_handler(error, on_expected)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_unforeseen)
    writer = desk.around.writer
    return Guard(
        app, Origins.of(desk.around.settings, lambda: desk.index.view().main.names or (writer.site("main").host,))
    )


def _api() -> APIRouter:
    problems: dict[int | str, dict[str, object]] = {
        status: {"model": ProblemDocument, "content": {"application/problem+json": {}}, "description": words}
        for status, words in {
            400: "Can't be understood",
            401: "No token or session, or none that is good",
            403: "Not allowed",
            404: "Not there, or not for you to know of",
            409: "At odds with what is so",
            412: "Changed meanwhile",
            413: "Too large",
            422: "Refused",
            502: "A server that was asked did not play along",
            503: "Not possible at the moment",
        }.items()
    }
    router = APIRouter(prefix=API, responses=problems)
    for each in (sites, certificates, people, service):
        router.include_router(each.router)
    return router


def healthz() -> JSONResponse:
    """Control lives."""
    return JSONResponse({"status": "ok"})


# Errors


async def on_expected(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == 500:
        logger.error("%s %s: %s", request.method, request.url.path, problem.detail)
    return response_of(problem)


async def on_http(request: Request, error: Exception) -> Response:
    """What the router says: no such path, no such method; and bodies that can't be taken apart."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    details = {404: "there is nothing under this address", 405: "this address does not take that method"}
    return response_of(Problem(status, "http", details.get(status, "the request can't be understood")))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Names the fields and what is allowed, never the values: one could be a password."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [{"field": ".".join(map(str, each["loc"])), "found": str(each["msg"])} for each in errors[:20]]
    detail = "; ".join(f"{fault['field']}: {fault['found']}" for fault in faults)
    if getattr(request.state, "is_too_large", False):
        from certstore.admin.guard import BodyTooLarge

        return response_of(problem_of(BodyTooLarge()))
    return response_of(Problem(422, "invalid", detail[:2000], more={"errors": faults}))


async def on_unforeseen(request: Request, error: Exception) -> Response:
    """A fault of ours: where, and of what kind; its message could quote what was sent."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s %s: %s at\n%s", request.method, request.url.path, type(error).__name__, where)
    return response_of(problem_of(error))
