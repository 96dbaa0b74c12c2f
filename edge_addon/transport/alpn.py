"""Which application protocols a ClientHello offers, and whether one of them belongs to the listener. Pure.

A client that offers only other protocols was led here by an attacker, who hopes that bytes of one protocol mean
something in another, because both sides use the same certificate (ALPACA). RFC 7301 §3.2 asks for a fatal alert then,
which Python's `ssl` can't send: it goes on without a protocol. So the offer is read here.
"""

from __future__ import annotations

from enum import Enum, auto

from certstore.model.challenge import ALPN_PROTOCOL
from certstore.model.settings.models import ListenerKind

NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
"""The fatal alert as a complete record (RFC 8446 §6)."""

_SMTP = (b"smtp", b"esmtp", b"submission")
"""Not registered; Exim and Postfix know the first two."""
NAMES: dict[ListenerKind, tuple[bytes, ...]] = {
    ListenerKind.HTTPS: (b"h2", b"http/1.1", b"http/1.0"),
    ListenerKind.IMAP: (b"imap",),
    ListenerKind.IMAPS: (b"imap",),
    ListenerKind.POP3: (b"pop3",),
    ListenerKind.POP3S: (b"pop3",),
    ListenerKind.SMTP: _SMTP,
    ListenerKind.SUBMISSION: _SMTP,
    ListenerKind.SUBMISSIONS: _SMTP,
    ListenerKind.LMTP: (b"lmtp",),
    ListenerKind.SIEVE: (b"managesieve", b"sieve"),
}
MAIL_PROTOCOLS = tuple(
    dict.fromkeys(name.decode("ascii") for kind, names in NAMES.items() if kind.is_mail for name in names)
)
"""What the contexts of mail listeners choose from. An offer that names another mail protocol too is refused."""

_VALIDATION = ALPN_PROTOCOL.encode("ascii")
_VALIDATION_OFFER = bytes((len(_VALIDATION),)) + _VALIDATION

_HANDSHAKE, _CLIENT_HELLO, _ALPN = 0x16, 1, 16
_ALPN_TYPE = _ALPN.to_bytes(2)
_RANDOM_END = 34


def is_for(kind: ListenerKind, hello: bytes) -> bool:
    """Whether the client offers a protocol of this listener, or none at all. `hello`: whole records."""
    # Nearly every client of a web server makes this offer, and nearly every mail client makes none.
    if not kind.is_mail and (b"\x02h2" in hello or b"\x08http/1.1" in hello):
        return True
    if _ALPN_TYPE not in hello and int.from_bytes(hello[3:5]) + 5 == len(hello):
        return True  # one record, so nothing can stand between the two bytes; OpenSSL judges the rest of it
    names = NAMES.get(kind, ())
    offered = offered_protocols(hello)
    if offered is None:
        return False
    others = [name for name in offered if name not in names]
    return not offered or (len(others) < len(offered) and not any(_is_mail(name) for name in others))


class Validation(Enum):
    """What a hello says about `acme-tls/1`. A CA offers it alone (RFC 8737 §3)."""

    NOT_OFFERED = auto()
    OFFERED = auto()
    OFFERED_WITH_OTHERS = auto()


def validation_offer(hello: bytes) -> Validation:
    """On the path of every handshake: a hello in one record without the name costs one search."""
    is_one_record = len(hello) == 5 + int.from_bytes(hello[3:5])
    if is_one_record and _VALIDATION_OFFER not in hello:
        return Validation.NOT_OFFERED
    offered = offered_protocols(hello) or []
    if _VALIDATION not in offered:
        return Validation.NOT_OFFERED
    return Validation.OFFERED if len(offered) == 1 else Validation.OFFERED_WITH_OTHERS


def offered_protocols(hello: bytes) -> list[bytes] | None:
    """The names in the ALPN extension, none without one; None if the records hold no whole ClientHello."""
    message = _message(hello)
    size = int.from_bytes(message[1:4])
    if len(message) < 4 + size or size < _RANDOM_END or message[0] != _CLIENT_HELLO:
        return None
    body = message[4 : 4 + size]
    try:
        at = _RANDOM_END + 1 + body[_RANDOM_END]  # session id
        at += 2 + int.from_bytes(body[at : at + 2])  # cipher suites
        at += 1 + body[at]  # compression methods
        end = at + 2 + int.from_bytes(body[at : at + 2])
        if at == len(body):
            return []  # a hello without extensions
        at += 2
        while at + 4 <= end == len(body):
            kind, length = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
            at += 4
            if kind == _ALPN:
                return _names(body[at : at + length])
            at += length
    except IndexError:
        return None
    return [] if at == end == len(body) else None


def _message(records: bytes) -> bytes:
    """What the handshake records hold, as far as they go on."""
    parts, at = [], 0
    while at + 5 <= len(records) and records[at] == _HANDSHAKE:
        length = int.from_bytes(records[at + 3 : at + 5])
        parts.append(records[at + 5 : at + 5 + length])
        at += 5 + length
    return b"".join(parts)


def _names(extension: bytes) -> list[bytes] | None:
    names, at = [], 2
    while at < len(extension):
        length = extension[at]
        names.append(extension[at + 1 : at + 1 + length])
        at += 1 + length
    return names if at == len(extension) == 2 + int.from_bytes(extension[:2]) else None


def _is_mail(name: bytes) -> bool:
    return name.decode("latin-1") in MAIL_PROTOCOLS
