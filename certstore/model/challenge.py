"""The form of http-01 challenges (RFC 8555 §8.3): their path, their tokens and their key authorizations.

Control writes by these rules and the edge's workers answer by them. Pure.
"""

from __future__ import annotations

import re

CHALLENGE_PATH = "/.well-known/acme-challenge/"
"""The token follows."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
_KEY_AUTHORIZATION = re.compile(rb"[A-Za-z0-9_.=-]+\s*")


def is_token(text: str) -> bool:
    """Base64url without padding. The bounds keep a look-up from ever becoming a path or a burden."""
    return _TOKEN.fullmatch(text) is not None


def is_key_authorization(content: bytes) -> bool:
    """Whether this may be shown to clients: a token and a thumbprint, with the newline that some ACME clients add."""
    return _KEY_AUTHORIZATION.fullmatch(content) is not None
