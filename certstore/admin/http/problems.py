"""Errors as problem documents (RFC 9457): what was found, what to do about it, and the status.

One table maps what can go wrong to a status; pages use the same table and render it as HTML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from certstore.admin.actions.action import Conflict, Denied
from certstore.admin.http.guard import BodyTooLarge
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.people import InvalidPerson
from certstore.people.users import UnknownUser
from certstore.store.errors import UnknownSite
from certstore.store.journal import JournalUnreadable

STATUS = {
    Fault.BAD_REQUEST: 400,
    Fault.TOO_LARGE: 413,
    Fault.OTHER_VERSION: 500,
    Fault.FORBIDDEN: 403,
    Fault.INVALID: 422,
    Fault.NOT_FOUND: 404,
    Fault.EXISTS: 409,
    Fault.REFUSED: 422,
    Fault.BUSY: 409,
    Fault.STORAGE: 503,
    Fault.UNREACHABLE: 502,
    Fault.INTERNAL: 500,
}
TITLES = {
    400: "Bad request",
    401: "Sign-in required",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed in the meantime",
    413: "Too large",
    415: "Unsupported content type",
    422: "Refused",
    429: "Too many attempts",
    500: "Internal error",
    502: "Another server failed",
    503: "Temporarily unavailable",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`code` identifies the kind of problem to programs; `detail` says what was found, `remedy` what to do."""

    status: int
    code: str
    detail: str
    remedy: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return TITLES.get(self.status, "Request failed")

    def to_json(self) -> dict[str, Any]:
        facts = {
            "type": f"urn:certedge:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return facts | ({"remedy": self.remedy} if self.remedy else {}) | self.more


class NotSignedIn(Exception):
    """The request has no valid session and no valid token."""


class CsrfRefused(Exception):
    """A browser sent a change without the session's CSRF token."""


EXPECTED: tuple[type[Exception], ...] = (
    RequestFailed, Denied, Conflict, NotSignedIn, CsrfRefused, InvalidPerson, UnknownUser, UnknownSite, BodyTooLarge,
    JournalUnreadable, OSError,
)  # fmt: skip
"""What actions raise; `problem_of` words each."""


def problem_of(error: Exception) -> Problem:
    match error:
        case RequestFailed():
            return Problem(STATUS[error.fault], error.fault.value, error.found, error.remedy)
        case NotSignedIn():
            return Problem(401, "not_signed_in", "sign in, or send a token: Authorization: Bearer cet_…")
        case CsrfRefused():
            remedy = "reload the page and try again"
            return Problem(403, "csrf", "the request does not have this session's CSRF token", remedy)
        case Denied():
            return Problem(403, "forbidden", str(error), "ask an administrator")
        case Conflict():
            return Problem(412, "changed_meanwhile", str(error))
        case InvalidPerson():
            return Problem(422, "invalid", str(error))
        case UnknownUser() | UnknownSite():
            return Problem(404, "not_found", str(error))
        case BodyTooLarge():
            remedy = "a certificate with its key and chain takes a few kilobytes: check which file you chose"
            return Problem(413, "too_large", "the request is larger than 4 MB", remedy)
        case JournalUnreadable():
            return Problem(503, "starting", str(error), "try again in a moment")
        case OSError():
            found = f"the store can't be used: {error.strerror or type(error).__name__}"
            return Problem(503, "storage", found, "free space or fix permissions; what is served has not changed")
    return Problem(500, "internal", f"{type(error).__name__}", "see the log")


def response_of(problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Bearer realm="certedge"'} if problem.status == 401 else None
    return JSONResponse(problem.to_json(), problem.status, headers, "application/problem+json")
