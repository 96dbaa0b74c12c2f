"""Tells from a private key's outermost bytes whether it may be loaded: only RSA and EC keys of sizes that are in use.

To load a key of another kind, or to sign with one whose numbers are out of proportion, may take minutes, in which the
process does nothing else. Reads unencrypted keys in DER: PKCS #8 (RFC 5208), RSA (RFC 8017) and EC (RFC 5915).
"""

from __future__ import annotations

from collections.abc import Iterator

from certstore.model.certificate.der import INTEGER, OCTET_STRING, SEQUENCE, elements, object_identifier

_RSA = {object_identifier("1.2.840.113549.1.1.1"), object_identifier("1.2.840.113549.1.1.10")}
_EC = object_identifier("1.2.840.10045.2.1")
_OTHERS = {
    object_identifier("1.3.101.112"): "an Ed25519 key",
    object_identifier("1.3.101.113"): "an Ed448 key",
    object_identifier("1.3.101.110"): "an X25519 key",
    object_identifier("1.3.101.111"): "an X448 key",
    object_identifier("1.2.840.10040.4.1"): "a DSA key",
    object_identifier("1.2.840.113549.1.3.1"): "a Diffie-Hellman key",
}
_RSA_NUMBERS = 9
_NUMBER_LIMIT = 16384 // 8 + 1
_EC_LIMIT = 4096
"""Bytes of an EC key with all parameters and its public half: one of P-521 has fewer than 300."""


def why_not_loaded(key: bytes) -> str | None:
    """What makes the key unfit for a server's certificate, in words ("a DSA key"); None for one that may be loaded.

    Of damaged bytes the crypto library finds out more.
    """
    parts = list(_parts(_content(key)))[: _RSA_NUMBERS + 1]
    tags = [tag for tag, _ in parts]
    if tags[:3] == [INTEGER, SEQUENCE, OCTET_STRING]:
        return _why_not_pkcs8(key, parts[1][1], parts[2][1])
    if tags[:2] == [INTEGER, OCTET_STRING]:
        return _why_not_ec(key)
    if tags[:2] == [INTEGER, INTEGER]:
        return _why_not_rsa(parts) if len(parts) >= _RSA_NUMBERS else "a DSA key"
    return None


def _why_not_pkcs8(key: bytes, algorithm: bytes, private: bytes) -> str | None:
    identifier = next(_parts(algorithm), (0, b""))[1]
    if identifier in _RSA:
        return _why_not_rsa(list(_parts(_content(private))))
    return _why_not_ec(key) if identifier == _EC else _OTHERS.get(identifier, "a key of an unusual kind")


def _why_not_rsa(numbers: list[tuple[int, bytes]]) -> str | None:
    if any(len(value) > _NUMBER_LIMIT for _, value in numbers):
        return "an RSA key with numbers of more than 16384 bits"
    # The private exponents of a real key are smaller than its modulus; the time that it takes to sign grows with them.
    modulus = len(numbers[1][1]) if len(numbers) > 1 else 0
    return "an RSA key whose numbers do not belong together" if any(len(v) > modulus + 1 for _, v in numbers) else None


def _why_not_ec(key: bytes) -> str | None:
    return f"an EC key of more than {_EC_LIMIT} bytes" if len(key) > _EC_LIMIT else None


def _content(structure: bytes) -> bytes:
    tag, value = next(_parts(structure), (0, b""))
    return value if tag == SEQUENCE else b""


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of the elements one behind the other, up to the first one that is cut short or has no length."""
    try:
        for tag, start, end in elements(content, 0, len(content)):
            yield tag, content[start:end]
    except ValueError:
        return
