"""Tells from a private key's outermost bytes whether it may be loaded: only RSA and EC keys of sizes that are in use.

To load a key of another kind, or to sign with one whose numbers are out of proportion, may take minutes, in which the
process does nothing else. Reads unencrypted keys in DER: PKCS #8 (RFC 5208), RSA (RFC 8017) and EC (RFC 5915).
"""

from __future__ import annotations

from collections.abc import Iterator

_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30
_RSA = {bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a")}
_EC = bytes.fromhex("2a8648ce3d0201")
_OTHERS = {
    bytes.fromhex("2b6570"): "an Ed25519 key",
    bytes.fromhex("2b6571"): "an Ed448 key",
    bytes.fromhex("2b656e"): "an X25519 key",
    bytes.fromhex("2b656f"): "an X448 key",
    bytes.fromhex("2a8648ce380401"): "a DSA key",
    bytes.fromhex("2a864886f70d010301"): "a Diffie-Hellman key",
}
_RSA_NUMBERS = 9
_NUMBER_LIMIT = 16384 // 8 + 1
_EC_LIMIT = 4096
"""Bytes of an EC key with all parameters and its public half: one of P-521 has fewer than 300."""


def why_not_loaded(key: bytes) -> str | None:
    """What makes the key unfit for a server's certificate, in words ("a DSA key"); None for one that may be loaded.

    Of damaged bytes the crypto library finds out more.
    """
    parts = list(_elements(_content(key)))[: _RSA_NUMBERS + 1]
    tags = [tag for tag, _ in parts]
    if tags[:3] == [_INTEGER, _SEQUENCE, _OCTET_STRING]:
        return _why_not_pkcs8(key, parts[1][1], parts[2][1])
    if tags[:2] == [_INTEGER, _OCTET_STRING]:
        return _why_not_ec(key)
    if tags[:2] == [_INTEGER, _INTEGER]:
        return _why_not_rsa(parts) if len(parts) >= _RSA_NUMBERS else "a DSA key"
    return None


def _why_not_pkcs8(key: bytes, algorithm: bytes, private: bytes) -> str | None:
    identifier = next(_elements(algorithm), (0, b""))[1]
    if identifier in _RSA:
        return _why_not_rsa(list(_elements(_content(private))))
    return _why_not_ec(key) if identifier == _EC else _OTHERS.get(identifier, "a key of an unusual kind")


def _why_not_rsa(numbers: list[tuple[int, bytes]]) -> str | None:
    if any(len(value) > _NUMBER_LIMIT for _, value in numbers):
        return "an RSA key with numbers of more than 16384 bits"
    # The private exponents of a real key are smaller than its modulus; the time that it takes to sign grows with them.
    modulus = len(numbers[1][1]) if len(numbers) > 1 else 0
    return "an RSA key whose numbers do not belong together" if any(len(v) > modulus + 1 for _, v in numbers) else None


def _why_not_ec(key: bytes) -> str | None:
    return f"an EC key of more than {_EC_LIMIT} bytes" if len(key) > _EC_LIMIT else None


def _content(element: bytes) -> bytes:
    tag, value = next(_elements(element), (0, b""))
    return value if tag == _SEQUENCE else b""


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of the elements one behind the other, up to the first one that is cut short or has no length."""
    position = 0
    while position + 2 <= len(content):
        tag, length = content[position], content[position + 1]
        start = position + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                return
            length = int.from_bytes(content[start : start + size], "big")
            start += size
        if start + length > len(content):
            return
        yield tag, content[start : start + length]
        position = start + length
