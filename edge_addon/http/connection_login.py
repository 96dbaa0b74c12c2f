"""Logins that belong to a TCP connection and not to a request: NTLM, and Negotiate as IIS uses it (RFC 4559, MS-NTHT).

Pure. After such a login every request on the connection counts as the user's, whoever sends it. In doubt the answer is
yes: that costs an upstream connection, a no could cost somebody's mailbox.
"""

from __future__ import annotations

import re

_SCHEMES = (b"ntlm", b"nego", b"kerberos")
"""How the schemes begin, in lower case: `nego` stands for Negotiate and Nego2."""
_LONGEST = max(map(len, _SCHEMES))

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+("?)', re.DOTALL)
_OFFER = re.compile(rb"(?:^|[,\s])(?:ntlm|nego|kerberos)", re.IGNORECASE)


def carries_login(credentials: bytes) -> bool:
    """Whether the value of an Authorization or Proxy-Authorization field is part of such a login."""
    return credentials.lstrip(b", \t")[:_LONGEST].lower().startswith(_SCHEMES)


def offers_login(challenges: bytes) -> bool:
    """Whether a WWW-Authenticate, Proxy-Authenticate or Authentication-Info field names such a scheme."""
    if b'"' in challenges:
        challenges = _QUOTED.sub(_without_text, challenges)
    return _OFFER.search(challenges) is not None


def _without_text(quoted: re.Match[bytes]) -> bytes:
    """Drop a quoted text; one that does not end may be read in two ways, and stays."""
    return b'""' if quoted[1] else quoted[0]


def is_persistent(value: bytes) -> bool:
    """Whether Persistent-Auth says that the connection stays authenticated; its absence says nothing."""
    return value.lower() != b"false"
