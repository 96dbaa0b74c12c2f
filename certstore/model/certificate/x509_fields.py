"""Takes a certificate apart (RFC 5280 §4.1): every field on its own, by what servers and clients need of it.

A certificate is only unreadable where its frame is: what a strict parser holds against a policy, a name or a serial
number is not looked at here. An extension that can't be read is as if it were absent, and is named in `oddities`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from certstore.model.certificate.der import (
    BIT_STRING,
    BOOLEAN,
    INTEGER,
    OBJECT_IDENTIFIER,
    SEQUENCE,
    dotted,
    element,
    elements,
    object_identifier,
)

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_SUBJECT_KEY_ID, _KEY_USAGE, _SUBJECT_ALT_NAME, _BASIC_CONSTRAINTS, _AUTHORITY_KEY_ID, _EXTENDED_USAGE, _FEATURES = map(
    object_identifier,
    ("2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37", "1.3.6.1.5.5.7.1.24"),
)
_NETSCAPE_TYPE = object_identifier("2.16.840.1.113730.1.1")
_NETSCAPE_SERVER = 0x40
_SERVER_USES = set(map(object_identifier, ("1.3.6.1.5.5.7.3.1", "2.5.29.37.0")))
_DNS_NAME = 0x82
_KEY_IDENTIFIER = 0x80
_NAMES_LIMIT = 10_000
_DIGITAL_SIGNATURE = 0x80
_EC_KEY = object_identifier("1.2.840.10045.2.1")
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_TIME = re.compile(
    rb"(?P<year>\d{2}|\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)?(?P<second>\d\d)?"
    rb"(?:[.,]\d+)?(?P<zone>Z|[+-]\d{4})?"
)
_STRICT_TIME = re.compile(rb"(?:\d\d)?\d{12}Z")
VALIDITY = "validity"
"""The oddity of times in a form that RFC 5280 §4.1.2.5 forbids: clients hold that to a certificate."""
NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Stands for a time that can't be read."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Names, key and the parts of the signature are slices of the DER. `names` are the SAN's DNS names as written.

    `key_usage` and `extended_usages` are None without the extension, `features` lists the TLS features (RFC 7633).
    `has_explicit_curve`: the EC key gives numbers in place of its curve's name. `oddities` are fields that could not
    be read, in words.
    """

    serial: int
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    spki: bytes = field(repr=False)
    key_algorithm: str
    has_explicit_curve: bool
    names: tuple[bytes, ...]
    is_ca: bool
    is_for_servers: bool
    may_sign: bool
    features: tuple[int, ...]
    subject_key_id: bytes | None
    authority_key_id: bytes | None
    signed: bytes = field(repr=False)
    signature_algorithm: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    oddities: tuple[str, ...]


def read_fields(der: bytes) -> Fields:
    """Raises ValueError when the frame can't be read: from the serial number to the key, and the signature."""
    _, outer, outer_end = _expect(der, 0, len(der), SEQUENCE)
    _, start, end = _expect(der, outer, outer_end, SEQUENCE)
    _, _, algorithm_end = _expect(der, end, outer_end, SEQUENCE)
    _, bits, bits_end = _expect(der, algorithm_end, outer_end, BIT_STRING)
    position = start
    if der[position] == _VERSION:
        position = element(der, position, end)[2]
    _, serial, serial_end = _expect(der, position, end, INTEGER)
    issuer = _expect(der, serial_end, end, SEQUENCE)[2]
    issuer_end = _expect(der, issuer, end, SEQUENCE)[2]
    _, validity, validity_end = _expect(der, issuer_end, end, SEQUENCE)
    subject_end = _expect(der, validity_end, end, SEQUENCE)[2]
    key_end = _expect(der, subject_end, end, SEQUENCE)[2]
    oddities: list[str] = []
    not_before, not_after = _validity(der, validity, validity_end, oddities)
    algorithm, has_explicit_curve = _key_algorithm(der, subject_end, key_end)
    extensions = _extensions(der, key_end, end, oddities)

    def read[T](kind: bytes, name: str, reader: Callable[[bytes], T], absent: T) -> T:
        value = extensions.get(kind)
        if value is None:
            return absent
        try:
            return reader(value)
        except (ValueError, IndexError):
            oddities.append(name)
            return absent

    is_ca = read(_BASIC_CONSTRAINTS, "basicConstraints", _is_ca, False)
    return Fields(
        serial=int.from_bytes(der[serial:serial_end], "big", signed=True),
        issuer=der[issuer:issuer_end],
        subject=der[validity_end:subject_end],
        not_before=not_before,
        not_after=not_after,
        spki=der[subject_end:key_end],
        key_algorithm=algorithm,
        has_explicit_curve=has_explicit_curve,
        names=read(_SUBJECT_ALT_NAME, "subjectAltName", _dns_names, ()),
        is_ca=is_ca,
        is_for_servers=read(_EXTENDED_USAGE, "extendedKeyUsage", _is_for_servers, True)
        and (is_ca or read(_NETSCAPE_TYPE, "Netscape certificate type", _is_netscape_server, True)),
        may_sign=read(_KEY_USAGE, "keyUsage", _may_sign, True),
        features=read(_FEATURES, "TLS features", _features, ()),
        subject_key_id=read(_SUBJECT_KEY_ID, "subjectKeyIdentifier", _value, None),
        authority_key_id=read(_AUTHORITY_KEY_ID, "authorityKeyIdentifier", _authority_key_id, None),
        signed=der[outer:end],
        signature_algorithm=der[end:algorithm_end],
        signature=der[bits + 1 : bits_end],
        oddities=tuple(oddities),
    )


def _expect(der: bytes, position: int, limit: int, tag: int) -> tuple[int, int, int]:
    found = element(der, position, limit)
    if found[0] != tag:
        raise ValueError("not a certificate")
    return found


def _key_algorithm(der: bytes, start: int, end: int) -> tuple[str, bool]:
    """RFC 5480 §2.1.1: the parameters of an EC key are the OID of its curve, and nothing else."""
    _, spki, spki_end = element(der, start, end)
    _, algorithm, algorithm_end = _expect(der, spki, spki_end, SEQUENCE)
    _, kind, kind_end = _expect(der, algorithm, algorithm_end, OBJECT_IDENTIFIER)
    parameters = der[kind_end : kind_end + 1] if kind_end < algorithm_end else b""
    is_explicit = der[kind:kind_end] == _EC_KEY and parameters != bytes([OBJECT_IDENTIFIER])
    return dotted(der[kind:kind_end]), is_explicit


def _validity(der: bytes, start: int, end: int, oddities: list[str]) -> tuple[datetime, datetime]:
    try:
        times = [(tag, der[begin:stop]) for tag, begin, stop in elements(der, start, end)]
        not_before, not_after = (_time(tag, text) for tag, text in times)
        if any(_STRICT_TIME.fullmatch(text) is None for _, text in times):
            oddities.append(VALIDITY)
    except (ValueError, OverflowError):
        oddities.append(VALIDITY)
        return NO_TIME, NO_TIME
    return not_before, not_after


def _time(tag: int, text: bytes) -> datetime:
    """UTCTime or GeneralizedTime, also with a zone or without seconds, as older encodings have it."""
    if tag not in (_UTC_TIME, _GENERALIZED_TIME) or (found := _TIME.fullmatch(text.strip(b" \x00"))) is None:
        raise ValueError("not a time")
    year = int(found["year"])
    if len(found["year"]) == 2:  # RFC 5280 §4.1.2.5.1
        year += 1900 if year >= 50 else 2000
    month, day, hour, minute, second = (int(found[name] or 0) for name in ("month", "day", "hour", "minute", "second"))
    at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    zone = found["zone"]
    if zone in (None, b"Z"):
        return at
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return at + offset if zone[:1] == b"-" else at - offset


def _extensions(der: bytes, start: int, end: int, oddities: list[str]) -> dict[bytes, bytes]:
    """Values by OID; of an extension that stands there twice, the first."""
    found: dict[bytes, bytes] = {}
    try:
        for tag, outer, outer_end in elements(der, start, end):
            if tag != _EXTENSIONS:
                continue
            _, inner, inner_end = element(der, outer, outer_end)
            for _, extension, extension_end in elements(der, inner, inner_end):
                parts = list(elements(der, extension, extension_end))
                _, kind, kind_end = parts[0]
                _, value, value_end = parts[-1]
                if found.setdefault(der[kind:kind_end], der[value:value_end]) != der[value:value_end]:
                    oddities.append(f"two extensions {dotted(der[kind:kind_end])}")
    except (ValueError, IndexError):
        oddities.append("extensions")
    return found


# Each function takes an extension's value and raises ValueError when it can't be read.


def _children(value: bytes) -> Iterator[tuple[int, int, int]]:
    _, start, end = _expect(value, 0, len(value), SEQUENCE)
    return elements(value, start, end)


def _value(value: bytes) -> bytes | None:
    _, start, end = element(value, 0, len(value))
    return value[start:end]


def _dns_names(value: bytes) -> tuple[bytes, ...]:
    names = (value[start:end] for tag, start, end in _children(value) if tag == _DNS_NAME)
    return tuple(itertools.islice(names, _NAMES_LIMIT))


def _is_ca(value: bytes) -> bool:
    """X.690 §11.1 wants 0xff for True, and some authorities write 0x01."""
    first = next(_children(value), None)
    return first is not None and first[0] == BOOLEAN and any(value[first[1] : first[2]])


def _is_for_servers(value: bytes) -> bool:
    """RFC 5280 §4.2.1.12."""
    return any(value[start:end] in _SERVER_USES for _, start, end in _children(value))


def _is_netscape_server(value: bytes) -> bool:
    """An extension from before the extended key usage; OpenSSL's clients still ask it of a server's certificate."""
    _, start, end = _expect(value, 0, len(value), BIT_STRING)
    return end - start > 1 and bool(value[start + 1] & _NETSCAPE_SERVER)


def _may_sign(value: bytes) -> bool:
    """Handshakes are signed; RFC 8446 §4.4.2.2: where there is the extension, it has to say digitalSignature."""
    _, start, end = _expect(value, 0, len(value), BIT_STRING)
    return end - start > 1 and bool(value[start + 1] & _DIGITAL_SIGNATURE)


def _features(value: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(value[start:end][:4], "big") for _, start, end in _children(value))


def _authority_key_id(value: bytes) -> bytes | None:
    for tag, start, end in _children(value):
        if tag == _KEY_IDENTIFIER:
            return value[start:end]
    return None
