"""What a CA's problem document means for us: RFC 8555 §6.7 error types to causes, links for people taken out.

Values in, a `Failure` out. Knows nothing of HTTP or of the library that read the document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certstore.model.causes import Cause, Failure

_PREFIX = "urn:ietf:params:acme:error:"
_SHOWN_LIMIT = 600
_LINK = re.compile(r"https://[^\s<>\"']+")

_CAUSES = {
    "accountDoesNotExist": Cause.ACCOUNT,
    "alreadyReplaced": Cause.REQUEST_REFUSED,
    "badCSR": Cause.REQUEST_REFUSED,
    "badNonce": Cause.CA_ERROR,
    "badPublicKey": Cause.REQUEST_REFUSED,
    "badSignatureAlgorithm": Cause.REQUEST_REFUSED,
    "caa": Cause.CAA,
    "connection": Cause.CONNECTION,
    "dns": Cause.DNS,
    "dnssec": Cause.DNS,
    "externalAccountRequired": Cause.EXTERNAL_ACCOUNT,
    "incorrectResponse": Cause.WRONG_ANSWER,
    "invalidContact": Cause.SETTINGS,
    "invalidProfile": Cause.REQUEST_REFUSED,
    "malformed": Cause.REQUEST_REFUSED,
    "orderNotReady": Cause.CA_ERROR,
    "rateLimited": Cause.RATE_LIMITED,
    "rejectedIdentifier": Cause.REJECTED_NAME,
    "serverInternal": Cause.CA_ERROR,
    "tls": Cause.CONNECTION,
    "unauthorized": Cause.WRONG_ANSWER,
    "unknownHost": Cause.NO_SUCH_NAME,
    "unsupportedContact": Cause.SETTINGS,
    "unsupportedIdentifier": Cause.REJECTED_NAME,
    "userActionRequired": Cause.TERMS,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document: `name` is the identifier that it is about, `status` the HTTP status."""

    type: str
    detail: str
    name: str | None = None
    status: int | None = None
    subproblems: tuple[Problem, ...] = ()


def read_problem(problem: Problem, *, retry_after: datetime | None = None, names: Sequence[str] = ()) -> Failure:
    """`names` are those that the request was about; subproblems narrow them down (RFC 8555 §6.7.1)."""
    leading = problem
    if problem.subproblems:
        leading = problem.subproblems[0]
    cause = _cause(leading if problem.type.endswith((":compound", ":malformed")) else problem)
    if problem.subproblems and cause in (Cause.REQUEST_REFUSED, Cause.CA_ERROR):
        cause = _cause(leading)
    at_fault = tuple(dict.fromkeys(each.name for each in (*problem.subproblems, problem) if each.name))
    detail = "; ".join(dict.fromkeys(_words(each) for each in (problem, *problem.subproblems) if each.detail))
    link = _LINK.search(detail)
    if cause is Cause.RATE_LIMITED and "unpause" in detail.lower():
        cause = Cause.PAUSED
    return Failure(
        cause,
        _short(detail or problem.type),
        at_fault or (tuple(names) if cause in _ABOUT_NAMES else ()),
        retry_after,
        link[0].rstrip(".,;)") if link and cause in _WITH_LINK else None,
    )


_ABOUT_NAMES = frozenset(
    {Cause.CAA, Cause.CONNECTION, Cause.DNS, Cause.NO_SUCH_NAME, Cause.REJECTED_NAME, Cause.WRONG_ANSWER}
)
_WITH_LINK = frozenset({Cause.PAUSED, Cause.RATE_LIMITED, Cause.TERMS, Cause.ACCOUNT, Cause.EXTERNAL_ACCOUNT})


def _cause(problem: Problem) -> Cause:
    code = problem.type.removeprefix(_PREFIX)
    if code == "dns" and "nxdomain" in problem.detail.lower():
        return Cause.NO_SUCH_NAME
    if code == "unauthorized" and problem.name is None and "account" in problem.detail.lower():
        return Cause.ACCOUNT
    if code in _CAUSES:
        return _CAUSES[code]
    if problem.status == 429:
        return Cause.RATE_LIMITED
    if problem.status is not None and 400 <= problem.status < 500:
        return Cause.REQUEST_REFUSED
    return Cause.CA_ERROR


def _words(problem: Problem) -> str:
    return f"{problem.name}: {problem.detail}" if problem.name else problem.detail


def _short(text: str) -> str:
    """A CA's text is a stranger's: one printable line that is not endless."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= _SHOWN_LIMIT else line[:_SHOWN_LIMIT] + "…"
