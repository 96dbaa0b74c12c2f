"""What a CA's problem document means: turns the error types of RFC 8555 §6.7 into causes, and finds links for people.

Values in, a `Failure` out. Knows nothing of HTTP or of the library that read the document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certstore.model.renewal.failure import Cause, Failure

_PREFIX = "urn:ietf:params:acme:error:"
_SHOWN_LIMIT = 600
_DATE = re.compile(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)? ?(?:UTC|Z)", re.ASCII | re.IGNORECASE)
"""As Let's Encrypt words it, in two forms."""
_LINK = re.compile(r"https://[^\s<>\"']+")

_CODES = {
    Cause.ACCOUNT: ("accountDoesNotExist",),
    Cause.REQUEST_REFUSED: (
        "alreadyReplaced", "badCSR", "badPublicKey", "badSignatureAlgorithm", "invalidProfile", "malformed",
    ),
    Cause.CA_ERROR: ("badNonce", "orderNotReady", "serverInternal"),
    Cause.CAA: ("caa",),
    Cause.CONNECTION: ("connection", "tls"),
    Cause.DNS: ("dns", "dnssec"),
    Cause.EXTERNAL_ACCOUNT: ("externalAccountRequired",),
    Cause.WRONG_ANSWER: ("incorrectResponse", "unauthorized"),
    Cause.SETTINGS: ("invalidContact", "unsupportedContact"),
    Cause.RATE_LIMITED: ("rateLimited",),
    Cause.REJECTED_NAME: ("rejectedIdentifier", "unsupportedIdentifier"),
    Cause.NO_SUCH_NAME: ("unknownHost",),
    Cause.TERMS: ("userActionRequired",),
}  # fmt: skip
_CAUSES = {code: cause for cause, codes in _CODES.items() for code in codes}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document, about the identifier `name`.

    `status` is the HTTP status, if the document answered a request of ours. It is None in an authorization or order.
    """

    type: str
    detail: str
    name: str | None = None
    status: int | None = None
    subproblems: tuple[Problem, ...] = ()


def read_problem(problem: Problem, *, retry_after: datetime | None = None, names: Sequence[str] = ()) -> Failure:
    """The request was about `names`; subproblems narrow them down (RFC 8555 §6.7.1)."""
    leading = problem
    if problem.subproblems:
        leading = problem.subproblems[0]
    cause = _cause(leading if problem.type.endswith((":compound", ":malformed")) else problem)
    if problem.subproblems and cause in (Cause.REQUEST_REFUSED, Cause.CA_ERROR):
        cause = _cause(leading)
    detail = "; ".join(dict.fromkeys(_text_of(each) for each in (problem, *problem.subproblems) if each.detail))
    link = _LINK.search(detail)
    if cause is Cause.RATE_LIMITED and "unpause" in detail.lower():
        cause = Cause.PAUSED
    if retry_after is None and cause is Cause.RATE_LIMITED:
        retry_after = _date_in(detail)
    return Failure(
        cause,
        _short(detail or problem.type),
        _at_fault(problem) or (_mentioned(names, detail) if cause in _ABOUT_NAMES else ()),
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
    # In an answer to our own request it is never about what a name answered.
    is_ours = problem.status is not None or "account" in problem.detail.lower()
    if code == "unauthorized" and problem.name is None and is_ours:
        return Cause.ACCOUNT
    if code in _CAUSES:
        return _CAUSES[code]
    if problem.status == 429:
        return Cause.RATE_LIMITED
    if problem.status is not None and 400 <= problem.status < 500:
        return Cause.REQUEST_REFUSED
    return Cause.CA_ERROR


def _date_in(text: str) -> datetime | None:
    """The date until which a limit holds, where only the text has it."""
    found = _DATE.search(text)
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") if found else None
    except ValueError:
        return None


def _at_fault(problem: Problem) -> tuple[str, ...]:
    """The names that the documents are about."""
    return tuple(dict.fromkeys(each.name for each in (*problem.subproblems, problem) if each.name))


def _mentioned(names: Sequence[str], detail: str) -> tuple[str, ...]:
    """Those of the request's names that the text mentions, or all of them.

    Let's Encrypt sends no subproblems where one name of several is at fault: only its text says which.
    """
    text = detail.lower()
    found = [name for name in names if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text)]
    return tuple(found or names)


def _text_of(problem: Problem) -> str:
    return f"{problem.name}: {problem.detail}" if problem.name else problem.detail


def _short(text: str) -> str:
    """The CA's text is not ours: make it one printable line of bounded length."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= _SHOWN_LIMIT else line[:_SHOWN_LIMIT] + "…"
