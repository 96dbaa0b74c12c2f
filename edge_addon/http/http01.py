"""HTTP-01 (RFC 8555 §8.3): is this request a validation, for which token, and what is the answer?

Pure: the caller knows where key authorizations are kept (`lookup`). Nothing of the request is ever reflected, and only
a possible token reaches `lookup`, so no path is built from a client's text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certstore.model.challenge import CHALLENGE_PATH, is_token

CHALLENGE_PATH_BYTES = CHALLENGE_PATH.encode("ascii")


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """`is_known` is False for an unknown or impossible token, and for a method that no validation uses."""

    status: int
    content_type: str
    body: bytes
    is_known: bool


NOT_FOUND = ChallengeAnswer(404, "text/plain; charset=utf-8", b"No such challenge.\n", is_known=False)


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
    token = token_of(target)
    if token is None or method not in ("GET", "HEAD"):
        return NOT_FOUND
    key_authorization = lookup(token)
    if key_authorization is None:
        return NOT_FOUND
    return ChallengeAnswer(200, "application/octet-stream", key_authorization, is_known=True)
