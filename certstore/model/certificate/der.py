"""Tells from the outermost bytes what a binary file is.

Reads just enough DER (X.690) for that and for a certificate's two names; everything else is left to the crypto library.
"""

from __future__ import annotations

from enum import StrEnum

_SEQUENCE = 0x30
_INTEGER = 0x02
_OCTET_STRING = 0x04
_OBJECT_IDENTIFIER = 0x06
_PKCS12_VERSION = b"\x03"


class DerKind(StrEnum):
    """What the outermost structure looks like; the crypto library finds out whether it is what it seems."""

    CERTIFICATE = "certificate"
    KEY = "key"
    ENCRYPTED_KEY = "encrypted_key"
    PKCS12 = "pkcs12"
    PKCS7 = "pkcs7"


def kind_of(content: bytes) -> DerKind | None:
    """None when the content is not DER, is cut short, or is something else."""
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
        # EncryptedPrivateKeyInfo (RFC 5958 §3) has an octet string second, where a certificate has another sequence.
        second_tag, _, _ = _element(content, first_end)
    except ValueError:
        return None
    return DerKind.ENCRYPTED_KEY if second_tag == _OCTET_STRING else DerKind.CERTIFICATE


def issuer_and_subject(certificate: bytes) -> tuple[bytes, bytes]:
    """The two names of a certificate as they are encoded, which is how they are compared. Raises ValueError.

    TBSCertificate ::= { [0] version, serial, algorithm, issuer, validity, subject, … } (RFC 5280 §4.1).
    """
    issuer_start, issuer_end, subject_start, subject_end = _places_of_names(certificate)
    return certificate[issuer_start:issuer_end], certificate[subject_start:subject_end]


def algorithm_of_public_key(certificate: bytes) -> bytes:
    """The whole AlgorithmIdentifier of a certificate's key, which follows its subject. Raises ValueError."""
    *_, subject_end = _places_of_names(certificate)
    _, start, _ = _element(certificate, subject_end)
    return certificate[start : _element(certificate, start)[2]]


def algorithm_of_private_key(info: bytes) -> bytes:
    """The whole AlgorithmIdentifier of a PrivateKeyInfo (RFC 5208 §5). Raises ValueError, also for another form."""
    _, version, _ = _element(info, 0)
    start = _element(info, version)[2]
    tag, _, end = _element(info, start)
    if tag != _SEQUENCE:
        raise ValueError("not PKCS #8")
    return info[start:end]


def with_algorithm(info: bytes, algorithm: bytes) -> bytes:
    """A PrivateKeyInfo with another AlgorithmIdentifier. Raises ValueError."""
    before = algorithm_of_private_key(info)
    _, start, end = _element(info, 0)
    body = info[start:end].replace(before, algorithm, 1)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    length = size if len(body) < 0x80 else bytes([0x80 | len(size)]) + size
    return bytes([_SEQUENCE]) + length + body


def _places_of_names(certificate: bytes) -> tuple[int, int, int, int]:
    """Start and end of the issuer, start and end of the subject."""
    _, outer, _ = _element(certificate, 0)
    _, position, _ = _element(certificate, outer)
    if certificate[position : position + 1] == b"\xa0":
        position = _element(certificate, position)[2]
    serial_end = _element(certificate, position)[2]
    issuer_start = _element(certificate, serial_end)[2]
    issuer_end = _element(certificate, issuer_start)[2]
    subject_start = _element(certificate, issuer_end)[2]
    return issuer_start, issuer_end, subject_start, _element(certificate, subject_start)[2]


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
