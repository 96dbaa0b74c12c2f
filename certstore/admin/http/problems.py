"""Errors as problem documents (RFC 9457): what was found, what to do about it, and a status that fits.

One table from what can go wrong to a status; a page uses the same one and says it in HTML.
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
    400: "The request can't be understood",
    401: "Sign-in is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Not done that way",
    409: "At odds with what is so",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Not this kind of content",
    422: "Refused",
    429: "Too many attempts",
    500: "A fault in certedge itself",
    502: "Somebody else's server did not play along",
    503: "Not possible at the moment",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`code` names the kind for programs, `detail` says what was found, `remedy` what to do."""

    status: int
    code: str
    detail: str
    remedy: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return TITLES.get(self.status, "It failed")

    def to_json(self) -> dict[str, Any]:
        facts = {
            "type": f"urn:certedge:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return facts | ({"remedy": self.remedy} if self.remedy else {}) | self.more


class NotSignedIn(Exception):
    """Neither a session nor a token, or none that is good."""


class CsrfRefused(Exception):
    """A change that a browser sent without the session's own token."""


EXPECTED: tuple[type[Exception], ...] = (
    RequestFailed, Denied, Conflict, NotSignedIn, CsrfRefused, InvalidPerson, UnknownUser, UnknownSite, BodyTooLarge,
    JournalUnreadable, OSError,
)  # fmt: skip
"""What actions raise, each with its own words below."""


def problem_of(error: Exception) -> Problem:
    match error:
        case RequestFailed():
            return Problem(STATUS[error.fault], error.fault.value, error.found, error.remedy)
        case NotSignedIn():
            return Problem(401, "not_signed_in", "sign in, or send a token: Authorization: Bearer cet_…")
        case CsrfRefused():
            remedy = "load the page again and repeat what you did"
            return Problem(403, "csrf", "the request does not carry this session's own token", remedy)
        case Denied():
            return Problem(403, "forbidden", str(error), "ask an administrator")
        case Conflict():
            return Problem(412, "changed_meanwhile", str(error))
        case InvalidPerson():
            return Problem(422, "invalid", str(error))
        case UnknownUser() | UnknownSite():
            return Problem(404, "not_found", str(error))
        case BodyTooLarge():
            remedy = "a certificate with its key and chain has a few kilobytes: check which file was chosen"
            return Problem(413, "too_large", "the request is larger than 4 MB", remedy)
        case JournalUnreadable():
            return Problem(503, "starting", str(error), "try again in a moment")
        case OSError():
            found = f"the store can't be used: {error.strerror or type(error).__name__}"
            return Problem(503, "storage", found, "free space, or mend rights; what is served has not changed")
    return Problem(500, "internal", f"{type(error).__name__}", "the log says where")


def response_of(problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Bearer realm="certedge"'} if problem.status == 401 else None
    return JSONResponse(problem.to_json(), problem.status, headers, "application/problem+json")
