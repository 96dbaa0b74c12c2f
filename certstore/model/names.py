"""What a domain name is, and which names a certificate's names cover.

Every name inside the project is in lower case and A-labels, without a trailing dot. Text becomes a name only through
`DomainName.parse` (what people write: strict, with reasons) or `normalise_server_name` (what clients send: quiet and
fast). Knows nothing of sites, certificates' bytes or settings.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass

import idna
from publicsuffixlist import PublicSuffixList

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}", re.ASCII)
# Host names have no underscores, but resolvers and browsers use names with them, and a wildcard matches those.
_CLIENT_LABEL = _LABEL.replace("a-z0-9", "a-z0-9_")
_CLIENT_NAME = re.compile(rf"(?:{_CLIENT_LABEL}\.)*{_CLIENT_LABEL}", re.ASCII)
# URL parsers take a name whose last label is a number for an IPv4 address; no top-level domain is a number.
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
_PLAIN_KEY = re.compile(r"[a-z0-9-]+", re.ASCII)

_NAME_LIMIT = 253
_LABEL_LIMIT = 63
# A key becomes a file name: KEY.json, KEY.pem and temporary names built on them have to fit into 255 bytes.
_KEY_LIMIT = 240
_SHOWN_LIMIT = 80


class InvalidName(ValueError):
    """The text is not a domain name; the message says what was found and what is allowed."""


@dataclass(frozen=True, slots=True, order=True)
class DomainName:
    """A host name, or a wildcard `*.` + host name (RFC 9525 §6.3: one `*`, the whole left-most label)."""

    value: str

    @classmethod
    def parse(cls, text: str, *, wildcard: bool = False) -> DomainName:
        """The name that a person wrote, in any case, with U-labels or a trailing dot. Raises InvalidName."""
        plain = text.strip()
        is_wildcard = plain.startswith("*.")
        if is_wildcard and not wildcard:
            raise InvalidName(f"{_shown(text)} is a wildcard, but only a full host name is allowed here")
        host = _host_name(text, plain[2:] if is_wildcard else plain)
        value = f"*.{host}" if is_wildcard else host
        if len(value) > _NAME_LIMIT:
            raise InvalidName(f"{_shown(text)} is longer than {_NAME_LIMIT} characters")
        return cls(value)

    @property
    def is_wildcard(self) -> bool:
        return self.value.startswith("*.")

    def __str__(self) -> str:
        return self.value


def _host_name(text: str, host: str) -> str:
    """`host` in A-labels; `text` is the whole input, for messages."""
    if not host:
        raise InvalidName(f"{_shown(text)} is empty; a host name such as mail.example.com is expected")
    if "*" in host:
        raise InvalidName(f"{_shown(text)}: a * is allowed only as the whole left-most label, as in *.example.com")
    if not host.isascii():
        host = _to_a_labels(text, host)
    host = host.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(host):
        raise InvalidName(
            f"{_shown(text)} is not a host name; allowed are labels of 1 to 63 letters, digits and inner hyphens, "
            "separated by dots"
        )
    if _NUMBER_LAST.fullmatch(host):
        raise InvalidName(f"{_shown(text)} ends in a number, so it reads as an IP address; a host name is expected")
    return host


def _to_a_labels(text: str, host: str) -> str:
    try:
        # UTS 46 mapping first: it is what browsers do with what people type (capitals, full-width dots).
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidName(
            f"{_shown(text)} has no valid international form ({error}); if the name exists, write it in its xn-- form"
        ) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_LIMIT else text[:_SHOWN_LIMIT] + "…")


def normalise_server_name(server_name: str | None) -> str | None:
    """The look-up form of a name that a client sent; None for no name and for what is not a host name (an IP literal,
    junk).

    On the path of every handshake and request: a name in its usual form costs one regular expression.
    """
    if not server_name or len(server_name) > _NAME_LIMIT + 1:
        return None
    name = server_name if server_name.isascii() else _client_a_labels(server_name)
    name = name.lower().removesuffix(".")
    if not _CLIENT_NAME.fullmatch(name) or (_ends_like_number(name) and _NUMBER_LAST.fullmatch(name)):
        return None
    return name


def _ends_like_number(name: str) -> bool:
    """A cheap first test: the last character of every number, decimal or hexadecimal, is one of these."""
    return name[-1] in "0123456789abcdefx"


def _client_a_labels(server_name: str) -> str:
    """Empty when there is no A-label form; an empty name matches nothing."""
    if any(len(label) > _LABEL_LIMIT for label in server_name.split(".")):
        return ""  # the A-label is even longer, and computing it for a stranger costs milliseconds
    try:
        return idna.encode(server_name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


def wildcard_for(name: str) -> str | None:
    """The one wildcard that could match: `a.b.c` gives `*.b.c`; None for a single label and for a wildcard."""
    first, dot, rest = name.partition(".")
    return f"*.{rest}" if dot and rest and first != "*" else None


def covers(dns_names: Collection[str], name: str) -> bool:
    """Whether a certificate with these names is valid for `name` (RFC 9525 §6.3); all in normal form.

    A wildcard as `name` asks whether all names below are covered, which only the same wildcard does.
    """
    if name in dns_names:
        return True
    wildcard = wildcard_for(name)
    return wildcard is not None and wildcard in dns_names


def is_host_name(text: str) -> bool:
    """Whether the text already is a host name in normal form (no wildcard)."""
    return len(text) <= _NAME_LIMIT and bool(_HOST_NAME.fullmatch(text)) and not _NUMBER_LAST.fullmatch(text)


def is_site_key(text: str) -> bool:
    """Whether the text can be a SITE: a host name in normal form or `[a-z0-9-]+`, short enough for file names.

    `main` passes: it is the key of the main site and never that of a domain.
    """
    return len(text) <= _KEY_LIMIT and (bool(_PLAIN_KEY.fullmatch(text)) or is_host_name(text))


def is_public_suffix(name: str) -> bool:
    """Whether anybody may register names directly below it (`co.uk`, `github.io`, any unknown top-level domain)."""
    return _suffixes().is_public(name)


@functools.cache
def _suffixes() -> PublicSuffixList:
    """Loaded when first needed: workers never need it, and reading the list takes as long as a hundred handshakes."""
    return PublicSuffixList()
