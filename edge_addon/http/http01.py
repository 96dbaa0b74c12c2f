"""HTTP-01 (RFC 8555 §8.3): is this request a validation, for which token, and what is the answer?

Pure: the caller knows where key authorizations are kept (`lookup`). Nothing of the request is ever reflected, and only
a possible token reaches `lookup`, so no path is built from a client's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from certstore.model.challenge import CHALLENGE_PATH, is_token

CHALLENGE_PATH_BYTES = CHALLENGE_PATH.encode("ascii")


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """`is_known` is False for an unknown or impossible token, and for a method that no validation uses.

    `may_pass`: an ACME client behind the edge may know it (`unknown_challenge: upstream`).
    """

    status: int
    content_type: str
    body: bytes
    is_known: bool
    may_pass: bool = False


_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,254}", re.ASCII)
"""One name in the folder, as people try with `test.txt`. Nothing encoded, hidden, below it or above it: a server that
decodes or normalises the path would serve something else, without the redirect and to any method."""

NOT_FOUND = ChallengeAnswer(404, "text/plain; charset=utf-8", b"No such challenge.\n", is_known=False)
UNKNOWN = replace(NOT_FOUND, may_pass=True)


def token_of(target: str) -> str | None:
    """Return the token in a request's path, without a query; None for another path or an impossible token."""
    if not target.startswith(CHALLENGE_PATH):
        return None
    token = target[len(CHALLENGE_PATH) :].partition("?")[0]
    return token if is_token(token) else None


def answer_challenge(method: str, target: str, lookup: Callable[[str], bytes | None]) -> ChallengeAnswer | None:
    """Answer a request for a challenge; None if it is for something else. HEAD gets the headers of GET.

    `lookup` returns the key authorization of a token, or None. A validator sends only GET; other methods get the same
    404 as an unknown token, so that nobody can find out which tokens there are.
    """
    if not target.startswith(CHALLENGE_PATH):
        return None
    if method not in ("GET", "HEAD"):
        return NOT_FOUND
    token = token_of(target)
    key_authorization = lookup(token) if token is not None else None
    if key_authorization is None:
        name = target[len(CHALLENGE_PATH) :].partition("?")[0]
        return UNKNOWN if _SEGMENT.fullmatch(name) else NOT_FOUND
    return ChallengeAnswer(200, "application/octet-stream", key_authorization, is_known=True)
