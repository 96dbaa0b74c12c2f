"""Header fields that you add to every answer over https (`http.headers`), and which of them are allowed. Pure.

Fields that frame a message or describe a single answer are refused: the edge and the web servers set them, and others
would break answers. So is every character that could end a line and split an answer in two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST_HEADERS = 32
MOST_BYTES = 8192
"""Of all names and values together: each answer carries them, and some clients limit a head to 16 KB."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
"""RFC 9110 §5.6.2."""
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
"""RFC 9110 §5.5 without its obsolete part; RFC 9113 §8.2.1 allows no blank at either end."""

_FRAMING = "belongs to the connection or to the framing of the message, which the edge sets itself"
_ONE_ANSWER = "describes a single answer, so only the server that gives the answer can set it"
_REFUSED = {
    **dict.fromkeys((
        "connection", "content-length", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    ), _FRAMING),
    **dict.fromkeys((
        "accept-ranges", "age", "allow", "authentication-info", "cache-control", "content-disposition",
        "content-encoding", "content-language", "content-location", "content-md5", "content-range", "content-type",
        "date", "etag", "expires", "last-modified", "location", "pragma", "retry-after", "vary", "www-authenticate",
    ), _ONE_ANSWER),
    "set-cookie": "would give every visitor the same cookie in place of the web server's",
    "strict-transport-security": "has a key of its own, `http.hsts`",
}  # fmt: skip
_REFUSED_PREFIXES = {"proxy-": _FRAMING, "sec-websocket-": _ONE_ANSWER}


def parse_header_name(name: str) -> str:
    """Return a name that may be set on every answer; raises ValueError with the reason."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("expected a header name, for example X-Frame-Options: at most 64 letters, digits and hyphens")
    lowered = name.lower()
    reason = _REFUSED.get(lowered) or next(
        (text for prefix, text in _REFUSED_PREFIXES.items() if lowered.startswith(prefix)), None
    )
    if reason is not None:
        raise ValueError(f"{name} can't be set here: it {reason}")
    return name


def parse_header_value(value: str) -> str:
    """Return a valid value; raises ValueError with what is allowed."""
    if not _VALUE.fullmatch(value):
        raise ValueError("expected one line of visible ASCII characters and spaces, with no space at either end")
    return value


def check_headers(headers: Mapping[str, str]) -> None:
    """Check the headers together: their number, size and uniqueness; raises ValueError."""
    spellings: dict[str, str] = {}
    for name in headers:
        if (first := spellings.setdefault(name.lower(), name)) != name:
            raise ValueError(f"{first} and {name} are the same header: names are compared without regard to case")
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"there are {len(headers)} headers, and at most {MOST_HEADERS} are allowed")
    size = sum(len(name) + len(value) for name, value in headers.items())
    if size > MOST_BYTES:
        raise ValueError(f"names and values have {size} bytes together, and at most {MOST_BYTES} are allowed")
