"""Tells from the outermost bytes what a binary file is, and walks through DER (X.690) without more rules than it needs.

Lenient where programs of the field are: a length may be longer than necessary, bytes may follow a structure, and BER's
indefinite lengths are understood at the outermost level and rewritten by `to_der`. Meanings are read elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

SEQUENCE = 0x30
SET = 0x31
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
_CONSTRUCTED = 0x20
_INDEFINITE = 0x80
_END_OF_CONTENTS = b"\x00\x00"
_LONG_TAG = 0x1F
_DEPTH_LIMIT = 24
_ELEMENTS_LIMIT = 50_000
"""Elements of one structure in BER; a collection of two hundred certificates has fewer."""
_PKCS12_VERSION = b"\x03"

type Element = tuple[int, int, int]
"""Tag (its first byte), and where the value starts and ends: what comes next starts where it ends."""


class DerKind(StrEnum):
    """What the outermost structure looks like; the crypto library finds out whether it is what it seems."""

    CERTIFICATE = "certificate"
    KEY = "key"
    ENCRYPTED_KEY = "encrypted_key"
    PKCS12 = "pkcs12"
    PKCS7 = "pkcs7"


def kind_of(content: bytes) -> DerKind | None:
    """None when the content is not DER or BER, is cut short, or is something else. Bytes behind it do not matter."""
    try:
        tag, start, end = _first(content, 0)
        if tag != SEQUENCE:
            return None
        first_tag, first_start, first_end = _first(content, start)
        if first_tag == INTEGER:
            is_pkcs12 = content[first_start:first_end] == _PKCS12_VERSION
            return DerKind.PKCS12 if is_pkcs12 else DerKind.KEY
        if first_tag == OBJECT_IDENTIFIER:
            return DerKind.PKCS7
        if first_tag != SEQUENCE:
            return None
        # EncryptedPrivateKeyInfo (RFC 5958 §3) has an octet string second, where a certificate has another sequence.
        if element(content, first_end, end)[0] == OCTET_STRING:
            return DerKind.ENCRYPTED_KEY
        return DerKind.CERTIFICATE if _is_certificate(content, first_start, first_end) else None
    except ValueError:
        return None


def _is_certificate(content: bytes, start: int, end: int) -> bool:
    """Whether this is a TBSCertificate: neither a request's content nor a revocation list's nor a public key's."""
    tag, _, value_end = element(content, start, end)
    if tag != INTEGER:
        return tag == 0xA0
    # Version 1 has no version: serial, algorithm, issuer, validity. A request has a name second, a CRL a time fourth.
    algorithm = element(content, value_end, end)
    if algorithm[0] != SEQUENCE or content[algorithm[1] : algorithm[1] + 1] != bytes([OBJECT_IDENTIFIER]):
        return False
    issuer = element(content, algorithm[2], end)
    return element(content, issuer[2], end)[0] == SEQUENCE


def first_element(content: bytes) -> bytes:
    """The first element inside the outermost one, whole. Raises ValueError."""
    _, start, outer_end = element(content, 0, len(content))
    return content[start : element(content, start, outer_end)[2]]


def algorithm_of_private_key(info: bytes) -> bytes:
    """The whole AlgorithmIdentifier of a PrivateKeyInfo (RFC 5208 §5). Raises ValueError, also for another form."""
    _, version, limit = element(info, 0, len(info))
    start = element(info, version, limit)[2]
    tag, _, end = element(info, start, limit)
    if tag != SEQUENCE:
        raise ValueError("not PKCS #8")
    return info[start:end]


def with_algorithm(info: bytes, algorithm: bytes) -> bytes:
    """A PrivateKeyInfo with another AlgorithmIdentifier. Raises ValueError."""
    before = algorithm_of_private_key(info)
    _, start, end = element(info, 0, len(info))
    return encoded(SEQUENCE, info[start:end].replace(before, algorithm, 1))


def structures(content: bytes) -> Iterator[bytes]:
    """Each of the structures that lie one behind the other in a file; what follows the last one is left out."""
    position = 0
    while content[position : position + 1] == bytes([SEQUENCE]):
        try:
            if content[position + 1 : position + 2] == bytes([_INDEFINITE]):
                der, position = _Rewriting(content).element(position, len(content), 0)
                yield der
                continue
            _, _, end = element(content, position, len(content))
        except ValueError:
            return
        yield content[position:end]
        position = end


def element(content: bytes, position: int, limit: int) -> Element:
    """The element at `position`. Raises ValueError when it is cut short, ends after `limit`, or is indefinite."""
    if position + 2 > limit:
        raise ValueError("cut short")
    tag, length = content[position], content[position + 1]
    start = position + 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise ValueError("a tag of several bytes")
    if length >= _INDEFINITE:
        size = length & 0x7F
        start += size
        if not 1 <= size <= 8 or start > limit:
            raise ValueError("indefinite or cut length")
        length = int.from_bytes(content[start - size : start], "big")
    end = start + length
    if end > limit:
        raise ValueError("cut short")
    return tag, start, end


def elements(content: bytes, start: int, end: int) -> Iterator[Element]:
    """All elements between two positions; raises ValueError at the first that is none."""
    position = start
    while position < end:
        found = element(content, position, end)
        yield found
        position = found[2]


def _first(content: bytes, position: int) -> Element:
    """As `element`, but an indefinite length reaches to the end of the content."""
    if content[position + 1 : position + 2] == bytes([_INDEFINITE]):
        return content[position], position + 2, len(content)
    return element(content, position, len(content))


def to_der(content: bytes) -> bytes:
    """The first structure with definite lengths everywhere; ValueError for what is neither DER nor BER."""
    return _Rewriting(content).element(0, len(content), 0)[0]


class _Rewriting:
    """Writes one structure again in DER."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = _ELEMENTS_LIMIT

    def element(self, position: int, limit: int, depth: int) -> tuple[bytes, int]:
        """One element, and where the next one starts. Strings in pieces become whole ones."""
        content = self._content
        self._left -= 1
        if depth > _DEPTH_LIMIT or self._left < 0:
            raise ValueError("nested too deeply, or too many elements")
        if position + 2 > limit:
            raise ValueError("cut short")
        tag, is_indefinite = content[position], content[position + 1] == _INDEFINITE
        if is_indefinite:
            start, end = position + 2, limit
        else:
            tag, start, end = element(content, position, limit)
        if not tag & _CONSTRUCTED:
            if is_indefinite:
                raise ValueError("a primitive element without a length")
            return content[position:end], end
        parts, at = self._parts(start, end, depth, is_indefinite=is_indefinite)
        if tag == OCTET_STRING | _CONSTRUCTED:
            return encoded(OCTET_STRING, b"".join(map(_value, parts))), at
        return encoded(tag, b"".join(parts)), at

    def _parts(self, start: int, end: int, depth: int, *, is_indefinite: bool) -> tuple[list[bytes], int]:
        parts: list[bytes] = []
        at = start
        while at < end:
            if is_indefinite and self._content[at : at + 2] == _END_OF_CONTENTS:
                return parts, at + 2
            part, at = self.element(at, end, depth + 1)
            parts.append(part)
        if is_indefinite:
            raise ValueError("no end of contents")
        return parts, at


def _value(der: bytes) -> bytes:
    _, start, end = element(der, 0, len(der))
    return der[start:end]


def encoded(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < _INDEFINITE:
        return bytes([tag, length]) + value
    size = (length.bit_length() + 7) // 8
    return bytes([tag, _INDEFINITE | size]) + length.to_bytes(size, "big") + value


def object_identifier(dotted: str) -> bytes:
    """The value's bytes of an OID."""
    first, second, *rest = (int(each) for each in dotted.split("."))
    value = b""
    for number in (first * 40 + second, *rest):
        piece = bytes([number & 0x7F])
        while number := number >> 7:
            piece = bytes([number & 0x7F | 0x80]) + piece
        value += piece
    return value


def dotted(value: bytes) -> str:
    """The inverse of `object_identifier`, for messages; at most a dozen numbers."""
    numbers, current = [], 0
    for byte in value[:60]:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    if not numbers:
        return "none"
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:12])))
