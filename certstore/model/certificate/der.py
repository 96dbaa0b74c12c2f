"""Tells from the outermost bytes what a binary file is, and how much work its password derivation would be.

Reads just enough DER (X.690) for that and for a certificate's two names; everything else is left to the crypto library.
The work matters because a file says itself how often its password is to be hashed: one with two thousand million rounds
would hold the process for an hour.
"""

from __future__ import annotations

import re
from enum import StrEnum

_SEQUENCE = 0x30
_INTEGER = 0x02
_OCTET_STRING = 0x04
_OBJECT_IDENTIFIER = 0x06
_PKCS12_VERSION = b"\x03"

ROUNDS_LIMIT = 5_000_000
"""For one drop. More rounds than any program writes today (they are below one million); about two seconds of work."""
_TOO_MANY = 2**63

# Object identifiers, each followed by its parameters: salt, then the number of rounds. The regex adds the last arc.
_PKCS5 = bytes.fromhex("06092a864886f70d0105")  # PBES1 schemes and PBKDF2 (RFC 8018 appendix C)
_PKCS12_SCHEMES = bytes.fromhex("060a2a864886f70d010c01")  # RFC 7292 appendix C
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # RFC 7914 §7
_DERIVATIONS = re.compile(
    re.escape(_PKCS5)
    + b"[\x01\x03\x04\x06\x0a\x0b\x0c]|"
    + re.escape(_PKCS12_SCHEMES)
    + b"[\x01-\x06]|(?P<scrypt>"
    + re.escape(_SCRYPT)
    + b")"
)


class DerKind(StrEnum):
    """What the outermost structure looks like; whether it really is one, the crypto library finds out."""

    CERTIFICATE = "certificate"
    KEY = "key"
    ENCRYPTED_KEY = "encrypted_key"
    PKCS12 = "pkcs12"
    PKCS7 = "pkcs7"


def kind_of(content: bytes) -> DerKind | None:
    """None: not DER, or cut short, or something else."""
    try:
        tag, start, end = _element(content, 0)
        if tag != _SEQUENCE or end != len(content):
            return None
        first_tag, first_start, first_end = _element(content, start)
        if first_tag == _INTEGER:
            is_pkcs12 = content[first_start:first_end] == _PKCS12_VERSION
            return DerKind.PKCS12 if is_pkcs12 else DerKind.KEY
        if first_tag == _OBJECT_IDENTIFIER:
            return DerKind.PKCS7
        if first_tag != _SEQUENCE:
            return None
        # EncryptedPrivateKeyInfo (RFC 5958 §3) has its octets second, where a certificate has another sequence.
        second_tag, _, _ = _element(content, first_end)
    except ValueError:
        return None
    return DerKind.ENCRYPTED_KEY if second_tag == _OCTET_STRING else DerKind.CERTIFICATE


def issuer_and_subject(certificate: bytes) -> tuple[bytes, bytes]:
    """The two names of a certificate as they are encoded, which is how they are compared; ValueError if it is none.

    TBSCertificate ::= { [0] version, serial, algorithm, issuer, validity, subject, … } (RFC 5280 §4.1).
    """
    _, outer, _ = _element(certificate, 0)
    _, position, _ = _element(certificate, outer)
    if certificate[position : position + 1] == b"\xa0":
        position = _element(certificate, position)[2]
    serial_end = _element(certificate, position)[2]
    issuer_start = _element(certificate, serial_end)[2]
    issuer_end = _element(certificate, issuer_start)[2]
    subject_start = _element(certificate, issuer_end)[2]
    subject_end = _element(certificate, subject_start)[2]
    return certificate[issuer_start:issuer_end], certificate[subject_start:subject_end]


def derivation_rounds(content: bytes) -> int:
    """The rounds of hashing that opening this PKCS #12 or PKCS #8 file could take, over all that it holds; huge when it
    can't be told."""
    try:
        rounds = [0]
        if kind_of(content) is DerKind.PKCS12:
            rounds.append(_mac_rounds(content))
        rounds.extend(
            _parameter_rounds(content, found.end(), is_scrypt=found["scrypt"] is not None)
            for found in _DERIVATIONS.finditer(content)
        )
        return sum(rounds)
    except ValueError:
        return _TOO_MANY


def _mac_rounds(content: bytes) -> int:
    """PFX ::= { version, contents, mac { digest, salt, rounds DEFAULT 1 } OPTIONAL } (RFC 7292 §4)."""
    _, start, end = _element(content, 0)
    parts = _children(content, start, end)
    if len(parts) < 3:
        return 0
    mac = _children(content, *parts[2][1:])
    return _integer(content, mac[2]) if len(mac) > 2 else 1


def _parameter_rounds(content: bytes, position: int, *, is_scrypt: bool) -> int:
    """{ salt, rounds, … } or, for scrypt, { salt, N, r, p, … } whose product is the work (RFC 7914 §7)."""
    tag, start, end = _element(content, position)
    parts = _children(content, start, end)
    if tag != _SEQUENCE or len(parts) < 2 or parts[0][0] != _OCTET_STRING:
        raise ValueError("unusual parameters")
    if not is_scrypt:
        return _integer(content, parts[1])
    if len(parts) < 4:
        raise ValueError("unusual parameters")
    cost, block, parallel = (_integer(content, part) for part in parts[1:4])
    return cost * block * parallel


def _children(content: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    elements = []
    while start < end:
        element = _element(content, start)
        elements.append(element)
        start = element[2]
    if start != end:
        raise ValueError("an element is longer than what holds it")
    return elements


def _integer(content: bytes, element: tuple[int, int, int]) -> int:
    tag, start, end = element
    if tag != _INTEGER or end - start > 8:
        raise ValueError("no usable number")
    return int.from_bytes(content[start:end], "big")


def _element(content: bytes, position: int) -> tuple[int, int, int]:
    """Tag, start and end of the value at `position`; ValueError for cut, indefinite or overlong lengths."""
    if position + 2 > len(content):
        raise ValueError("cut short")
    tag, length = content[position], content[position + 1]
    start = position + 2
    if length >= 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or start + size > len(content):
            raise ValueError("indefinite or cut length")
        length = int.from_bytes(content[start : start + size], "big")
        start += size
    if start + length > len(content):
        raise ValueError("cut short")
    return tag, start, start + length
