"""Takes PKCS #7 collections (RFC 2315) and PKCS #12 files (RFC 7292) apart.

The library's own readers return one key where a file holds two, and refuse the whole file for one certificate that
their parser dislikes. Here bags are found by walking, the library decrypts them, and each part is judged on its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from certstore.model.certificate.der import SEQUENCE, element, elements, object_identifier, to_der
from certstore.model.certificate.library import Unreadable, ask_library
from certstore.model.certificate.password_encryption import decrypt

_DATA, _ENCRYPTED_DATA = map(object_identifier, ("1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"))
_BAGS = "1.2.840.113549.1.12.10.1."
_KEY_BAG, _SHROUDED_KEY_BAG, _CERTIFICATE_BAG, _NESTED_BAG = (
    object_identifier(_BAGS + number) for number in ("1", "2", "3", "6")
)
_CERTIFICATES = 0xA0
_DER = serialization.Encoding.DER
_KEYS_LIMIT = 20
_DEPTH_LIMIT = 3


def certificates_of_pkcs7(content: bytes) -> tuple[bytes, ...]:
    """The certificates as they stand there, also in BER. Raises ValueError."""
    try:
        return _signed_certificates(content)
    except ValueError:
        return _signed_certificates(to_der(content))


def _signed_certificates(der: bytes) -> tuple[bytes, ...]:
    """ContentInfo { type, [0] SignedData { version, digests, content, [0] certificates … } }."""
    _, start, end = element(der, 0, len(der))
    outer = list(elements(der, start, end))[1:]
    if not outer:
        raise ValueError("no content")
    _, signed, signed_end = element(der, outer[0][1], outer[0][2])
    for tag, inner, inner_end in elements(der, signed, signed_end):
        if tag == _CERTIFICATES:
            return _sequences(der, inner, inner_end)
    return ()


def _sequences(der: bytes, start: int, end: int) -> tuple[bytes, ...]:
    found, position = [], start
    for tag, _, stop in elements(der, start, end):
        if tag == SEQUENCE:  # other choices are attribute certificates
            found.append(der[position:stop])
        position = stop
    return tuple(found)


def open_pkcs12(content: bytes, password: bytes | None) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Certificates, the leaf first, and keys in PKCS #8. Raises ValueError when the password does not open it."""
    der = to_der(content)
    try:
        certificates, keys, is_whole = *_opened_by_library(der, password), True
    except Unreadable:
        certificates, keys, is_whole = [], [], False  # a wrong password, or a part that the library dislikes
    for kind, value in _bags(der, None if is_whole else password or b""):
        if kind == _CERTIFICATE_BAG:
            certificates.append(value)
        elif len(keys) < _KEYS_LIMIT:
            try:
                keys.append(_pkcs8(value, password if kind == _SHROUDED_KEY_BAG else None))
            except Unreadable:
                continue
    if not is_whole and not certificates and not keys:
        raise ValueError("it does not open")
    return tuple(dict.fromkeys(certificates)), tuple(dict.fromkeys(keys))


def _opened_by_library(der: bytes, password: bytes | None) -> tuple[list[bytes], list[bytes]]:
    """It knows every cipher, checks the file's integrity, and finds out which certificate is the leaf."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of BER within the file, which it will refuse one day
        opened = ask_library(lambda: pkcs12.load_pkcs12(der, password))
    certificates = [each.certificate.public_bytes(_DER) for each in (opened.cert, *opened.additional_certs) if each]
    return certificates, [] if opened.key is None else [_plain_key(opened.key)]


def _pkcs8(key: bytes, password: bytes | None) -> bytes:
    return _plain_key(
        ask_library(lambda: serialization.load_der_private_key(key, password, unsafe_skip_rsa_key_validation=True))
    )


def _plain_key(key: PrivateKeyTypes) -> bytes:
    return ask_library(lambda: key.private_bytes(_DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _bags(der: bytes, password: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the bags: of those that lie open, and with a password also of those that are encrypted.

    PFX { version, authSafe ContentInfo, … }, whose content is a sequence of ContentInfo, each with SafeContents.
    """
    try:
        _, start, end = element(der, 0, len(der))
        _, content, content_end = list(elements(der, start, end))[1]
        safes = _octets(*_content_info(der, content, content_end)[1:])
        for _, safe, safe_end in elements(safes, *element(safes, 0, len(safes))[1:]):
            kind, value, position, stop = _content_info(safes, safe, safe_end)
            if kind == _DATA:
                yield from _bags_of(to_der(_octets(value, position, stop)), 0)
            elif kind == _ENCRYPTED_DATA and password is not None:
                yield from _bags_of(to_der(_decrypted(value[position:stop], password)), 0)
    except (ValueError, IndexError):
        return


def _content_info(content: bytes, start: int, end: int) -> tuple[bytes, bytes, int, int]:
    """The OID, and where the explicitly tagged content lies."""
    kind, wrapped = list(elements(content, start, end))[:2]
    return content[kind[1] : kind[2]], content, wrapped[1], wrapped[2]


def _octets(content: bytes, start: int, end: int) -> bytes:
    _, value, value_end = element(content, start, end)
    return to_der(content[value:value_end])


def _decrypted(data: bytes, password: bytes) -> bytes:
    """EncryptedData { version, EncryptedContentInfo { type, algorithm, [0] content } }."""
    _, start, end = element(data, 0, len(data))
    _, info, info_end = list(elements(data, start, end))[1]
    _, algorithm, encrypted = list(elements(data, info, info_end))[:3]
    return decrypt(data[algorithm[1] : algorithm[2]], data[encrypted[1] : encrypted[2]], password)


def _bags_of(contents: bytes, depth: int) -> Iterator[tuple[bytes, bytes]]:
    for _, start, end in elements(contents, *element(contents, 0, len(contents))[1:]):
        kind, _, position, stop = _content_info(contents, start, end)
        if kind in (_KEY_BAG, _SHROUDED_KEY_BAG):
            yield kind, contents[position:stop]
        elif kind == _CERTIFICATE_BAG:  # CertBag { id, [0] OCTET STRING }
            _, _, inner, inner_end = _content_info(contents, *element(contents, position, stop)[1:])
            _, value, value_end = element(contents, inner, inner_end)
            yield kind, contents[value:value_end]
        elif kind == _NESTED_BAG and depth < _DEPTH_LIMIT:
            yield from _bags_of(contents[position:stop], depth + 1)
