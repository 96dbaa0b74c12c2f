"""Decrypts what a PKCS #12 file protects with a password: PBES2 (RFC 8018 §6.2), and RFC 7292's own scheme with 3DES.

Needed only for files that the library refuses as a whole because of one part. The work is as much as the file asks for,
so this runs where the work is bounded.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from certstore.model.certificate.der import element, elements, object_identifier
from certstore.model.certificate.library import ask_library

_PBES2, _PBKDF2, _OLD_3DES = map(
    object_identifier, ("1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.2.840.113549.1.12.1.3")
)
_3DES = object_identifier("1.2.840.113549.3.7")
_KEY_LENGTHS = {
    object_identifier("2.16.840.1.101.3.4.1.2"): 16,
    object_identifier("2.16.840.1.101.3.4.1.22"): 24,
    object_identifier("2.16.840.1.101.3.4.1.42"): 32,
    _3DES: 24,
}
_PRF = {
    object_identifier(number): name
    for number, name in (
        ("1.2.840.113549.2.7", "sha1"),
        ("1.2.840.113549.2.8", "sha224"),
        ("1.2.840.113549.2.9", "sha256"),
        ("1.2.840.113549.2.10", "sha384"),
        ("1.2.840.113549.2.11", "sha512"),
    )
}
_SHA1_BLOCK = 64


def decrypt(algorithm: bytes, content: bytes, password: bytes) -> bytes:
    """`algorithm` is the content of an AlgorithmIdentifier. Raises ValueError for other schemes and wrong passwords."""
    kind, parameters = _pair(algorithm)
    if kind == _OLD_3DES:
        salt, rounds = _values(parameters)[:2]
        count = int.from_bytes(rounds, "big")
        key, vector = (_derived(password, salt, count, use, size) for use, size in ((1, 24), (2, 8)))
        return _unpadded(Cipher(TripleDES(key), modes.CBC(vector)), content, 8)
    if kind != _PBES2:
        raise ValueError("an unknown encryption")
    derivation, scheme = _values(parameters)[:2]
    derivation_kind, derivation_parameters = _pair(derivation)
    cipher, vector = _pair(scheme)
    if derivation_kind != _PBKDF2 or cipher not in _KEY_LENGTHS:
        raise ValueError("an unknown encryption")
    salt, rounds, *more = _values(derivation_parameters)
    prf = next((_PRF[each] for each in (_first(part) for part in more) if each in _PRF), "sha1")
    key = hashlib.pbkdf2_hmac(prf, password, salt, int.from_bytes(rounds, "big"), _KEY_LENGTHS[cipher])
    if cipher == _3DES:
        return _unpadded(Cipher(TripleDES(key), modes.CBC(vector)), content, 8)
    return _unpadded(Cipher(algorithms.AES(key), modes.CBC(vector)), content, 16)


def _pair(content: bytes) -> tuple[bytes, bytes]:
    """The values of an OID and of what follows it."""
    kind, parameters = list(elements(content, 0, len(content)))[:2]
    return content[kind[1] : kind[2]], content[parameters[1] : parameters[2]]


def _values(content: bytes) -> list[bytes]:
    return [content[start:end] for _, start, end in elements(content, 0, len(content))]


def _first(content: bytes) -> bytes:
    """The first value within one, or nothing (for the key length, which is a number)."""
    try:
        _, start, end = element(content, 0, len(content))
    except ValueError:
        return b""
    return content[start:end]


def _unpadded(cipher: Cipher[modes.CBC], content: bytes, block: int) -> bytes:
    decryptor, unpadder = cipher.decryptor(), padding.PKCS7(block * 8).unpadder()
    plain = ask_library(lambda: decryptor.update(content) + decryptor.finalize())
    return ask_library(lambda: unpadder.update(plain) + unpadder.finalize())


def _derived(password: bytes, salt: bytes, rounds: int, use: int, size: int) -> bytes:
    """RFC 7292 appendix B.2, with SHA-1."""
    secret = password.decode("utf-8", "replace").encode("utf-16-be") + b"\x00\x00"
    state = _filled(salt) + _filled(secret)
    found = b""
    while True:
        digest = hashlib.sha1(bytes([use]) * _SHA1_BLOCK + state, usedforsecurity=False).digest()
        for _ in range(rounds - 1):
            digest = hashlib.sha1(digest, usedforsecurity=False).digest()
        found += digest
        if len(found) >= size:
            return found[:size]
        addend = int.from_bytes((digest * _SHA1_BLOCK)[:_SHA1_BLOCK], "big") + 1
        blocks = (state[at : at + _SHA1_BLOCK] for at in range(0, len(state), _SHA1_BLOCK))
        sums = ((int.from_bytes(each, "big") + addend) % (1 << (8 * _SHA1_BLOCK)) for each in blocks)
        state = b"".join(each.to_bytes(_SHA1_BLOCK, "big") for each in sums)


def _filled(text: bytes) -> bytes:
    """Repeated to whole blocks."""
    size = -(-len(text) // _SHA1_BLOCK) * _SHA1_BLOCK
    return (text * (size // len(text) + 1))[:size] if text else b""
