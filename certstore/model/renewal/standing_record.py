"""The standing TXT record of dns-persist-01 (draft-ietf-acme-dns-persist-02): its name, its value, and what it allows.

The record names a CA and an account at it, so it proves a name for every order of that account. As the draft moves,
both forms of `accounturi` count: the account's URL, and since -02 a digest that hides it. Pure.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from certstore.model.names import is_host_name, is_public_suffix

_LABEL = "_validation-persist."
ISSUERS_MOST = 10
"""A client has to refuse more (§3.1)."""
_EVERY_DOMAIN = "*"
_HASH = "sha-256/"


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """What a CA's directory says about the challenge (§3.2, §4.1). `hash_prefix` is None where the CA follows an
    earlier draft, whose records hold the account's URL."""

    issuers: tuple[str, ...]
    hash_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class StandingAccount:
    """`thumbprint` is that of the account's key (RFC 7638), in base64url."""

    url: str
    thumbprint: str


def read_offer(meta: Mapping[str, Any]) -> StandingOffer | None:
    """From the `meta` of a directory; None where the CA does not offer the challenge, or not in a form that counts."""
    prefix = meta.get("accountHashPrefix")
    try:
        issuers = _issuers(meta.get("issuerDomainNames"))
    except ValueError:
        return None
    is_usable = isinstance(prefix, str) and prefix.startswith("https://") and _is_plain(prefix)
    return StandingOffer(issuers, prefix if is_usable else None)


def read_issuers(challenge: Mapping[str, Any]) -> tuple[str, ...]:
    """From the challenge object. Raises ValueError, as such a challenge has to be refused."""
    return _issuers(challenge.get("issuerDomainNames", challenge.get("issuer-domain-names")))


def _issuers(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not 0 < len(given) <= ISSUERS_MOST:
        raise ValueError(f"a CA has to name 1 to {ISSUERS_MOST} issuer domain names")
    if not all(isinstance(each, str) and is_host_name(each) for each in given):
        raise ValueError("an issuer domain name is not a host name in lower case")
    return tuple(given)


def record_name(name: str) -> str:
    return _LABEL + name.removeprefix("*.")


def record_value(name: str, offer: StandingOffer, account: StandingAccount) -> str:
    """What to put into the record for the name; for a wildcard it covers the name below it too."""
    uri = account.url
    if offer.hash_prefix is not None:
        uri = f"{offer.hash_prefix}{_HASH}{_digest(name.removeprefix('*.'), account)}"
    policy = "; policy=wildcard" if name.startswith("*.") else ""
    return f"{offer.issuers[0]}; accounturi={uri}{policy}"


def record_places(name: str) -> Iterator[tuple[str, bool]]:
    """Where a record for the name may be, and whether it has to have the wildcard policy there (§5, §6)."""
    base = name.removeprefix("*.")
    yield _LABEL + base, base != name
    labels = base.split(".")
    for position in range(1, len(labels) - 1):
        above = ".".join(labels[position:])
        if is_public_suffix(above):
            return
        yield _LABEL + above, True


def find_fault(
    text: str, place: str, issuers: Collection[str], account: StandingAccount, now: datetime, *, needs_wildcard: bool
) -> str | None:
    """Why a record does not allow an order of this account, None where it does (§4.2)."""
    issuer, *rest = (part.strip() for part in text.split(";"))
    parameters = {tag.strip().lower(): value.strip() for tag, _, value in (part.partition("=") for part in rest)}
    if issuer not in issuers:
        return "it is for another CA"
    uri, domain = parameters.get("accounturi", ""), place.removeprefix(_LABEL)
    digests = [_HASH + _digest(each, account) for each in (domain, _EVERY_DOMAIN)]
    if uri != account.url and not any(uri.endswith(f"/{each}") for each in digests):
        return "it is for another account"
    if needs_wildcard and parameters.get("policy", "").lower() != "wildcard":
        return "it lacks policy=wildcard"
    if (until := parameters.get("persistuntil")) is not None:
        if not until.isascii() or not until.isdigit() or len(until) > 15:
            return "its persistUntil is not a number"
        if int(until) <= now.timestamp():
            return f"it was valid until {_day(int(until))}"
    return None


def nearest_fault(faults: Sequence[str]) -> str:
    """Of several records the one that is closest to what is wanted."""
    order = ("it was valid", "its persistUntil", "it lacks", "it is for another account", "it is for another CA")
    return min(faults, key=lambda each: next(at for at, begins in enumerate(order) if each.startswith(begins)))


def _digest(domain: str, account: StandingAccount) -> str:
    """§4.1, item 3."""
    content = domain.encode("ascii")
    hashed = hashlib.sha256(bytes([len(content)]) + content + (account.thumbprint + account.url).encode("ascii"))
    return urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode("ascii")


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _is_plain(text: str) -> bool:
    """As a value of an issue-value (RFC 8659 §4.2): no blank and no semicolon could be in it."""
    return text.isascii() and text.isprintable() and not set(text) & set(' ;"\\')
