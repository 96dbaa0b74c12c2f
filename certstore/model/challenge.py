"""The ways to prove a name to a CA, and the form of tokens, paths and key authorizations (RFC 8555 §8.1 and §8.3).

Control writes by these rules and the edge's workers answer by them. Pure.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum


class ChallengeType(StrEnum):
    """As CAs offer them and CAA records name them (RFC 8657 §4)."""

    HTTP_01 = "http-01"
    TLS_ALPN_01 = "tls-alpn-01"
    DNS_01 = "dns-01"
    DNS_PERSIST_01 = "dns-persist-01"


USUAL_CHALLENGES = (ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01, ChallengeType.DNS_01)
"""The order in which they are tried where no setting names any. A standing record is never used unasked."""

SLOW_CHALLENGES = frozenset({ChallengeType.DNS_01})
"""Other servers may take minutes to show what was published."""

BY_ZONE = frozenset({ChallengeType.DNS_01, ChallengeType.DNS_PERSIST_01})
"""They prove that somebody may write the name's zone, and not that the name leads to this edge."""

ALPN_PROTOCOL = "acme-tls/1"
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"
"""The protocol and the certificate extension of tls-alpn-01 (RFC 8737 §6)."""

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


def acme_identifier(key_authorization: bytes) -> bytes:
    """The value of the certificate extension: an OCTET STRING with the key authorization's SHA-256 (RFC 8737 §3)."""
    digest = hashlib.sha256(key_authorization.strip()).digest()
    return bytes((4, len(digest))) + digest
