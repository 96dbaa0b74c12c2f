"""The answers that the edge gives itself: short pages, redirects, challenges.

Pure. A page states what happened and what to do, and never repeats what the client sent. Only Location repeats the
request's host and target, and both have been checked by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import cache
from http import HTTPStatus

from edge_addon.http.fields import Field
from edge_addon.http.http01 import ChallengeAnswer

_PAGE = """<!doctype html>
<html lang=en><meta charset=utf-8><title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
</html>
"""

_TEXTS = {
    400: "The request could not be understood: it breaks the rules of HTTP.",
    404: "There is nothing here.",
    405: "This method is not available here.",
    408: "The request did not arrive in time.",
    413: "The request's body is too large.",
    417: "The server can't meet what the request expects.",
    421: "This connection was opened for another host name. Please open a new one.",
    431: "The request's header is too large.",
    502: "The server behind this address gave no proper answer. Please try again in a moment.",
    503: "The service is not available right now. Please try again in a moment.",
    504: "The server behind this address did not answer in time. Please try again later.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `cause`: why the edge answered itself, for the access log, and for counters if refused."""

    status: int
    cause: str
    body: bytes = b""
    fields: tuple[bytes, ...] = ()
    is_refusal: bool = True


@cache
def page(status: int, cause: str) -> Answer:
    """Return the short page of a status. Causes are words of ours, so the cache stays small."""
    title = f"{status} {HTTPStatus(status).phrase}"
    body = _PAGE.format(title=title, text=_TEXTS[status]).encode()
    fields: tuple[bytes, ...] = (b"Content-Type: text/html; charset=utf-8",)
    if status == 405:
        fields += (b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",)
    if status == 503:
        fields += (b"Retry-After: 5",)
    return Answer(status, cause, body, (*fields, b"Cache-Control: no-store"))


def redirect(location: bytes, *, is_safe: bool) -> Answer:
    """Redirect to https. Only 308 keeps the method and body of requests beyond GET and HEAD (RFC 9110 §15.4.9)."""
    return Answer(301 if is_safe else 308, "redirect_to_https", b"", (b"Location: " + location,), is_refusal=False)


def challenge(answer: ChallengeAnswer) -> Answer:
    """Answer with a key authorization, or that there is none. No cache may keep it: the next token differs."""
    fields = (b"Content-Type: " + answer.content_type.encode("ascii"), b"Cache-Control: no-store")
    cause = "challenge" if answer.is_known else "challenge_unknown"
    return Answer(answer.status, cause, answer.body, fields, is_refusal=False)


def encode_answer(
    answer: Answer, now: datetime, own_fields: tuple[Field, ...], *, is_head: bool, connection: bytes | None
) -> bytes:
    """Write the response; `connection` is the value of its Connection header."""
    lines = [
        b"HTTP/1.1 %d %b" % (answer.status, HTTPStatus(answer.status).phrase.encode("ascii")),
        b"Date: " + format_datetime(now, usegmt=True).encode("ascii"),
        *answer.fields,
        b"Content-Length: %d" % len(answer.body),
    ]
    if connection is not None:
        lines.append(b"Connection: " + connection)
    if own_fields:
        lines += [field.line for field in own_fields]
    lines += (b"", b"" if is_head else answer.body)
    return b"\r\n".join(lines)
