"""Whether a key made a certificate's signature, and with which hash."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certstore.model.certificate.der import OBJECT_IDENTIFIER, element, elements, object_identifier
from certstore.model.certificate.library import Unreadable, ask_library

UNKNOWN_HASH = "unknown"
_HASHES = {
    object_identifier(number): name
    for number, name in (
        ("1.2.840.113549.1.1.2", "md2"),
        ("1.2.840.113549.1.1.3", "md4"),
        ("1.2.840.113549.1.1.4", "md5"),
        ("1.2.840.113549.1.1.5", "sha1"),
        ("1.3.14.3.2.29", "sha1"),
        ("1.2.840.113549.1.1.14", "sha224"),
        ("1.2.840.113549.1.1.11", "sha256"),
        ("1.2.840.113549.1.1.12", "sha384"),
        ("1.2.840.113549.1.1.13", "sha512"),
        ("1.2.840.10045.4.1", "sha1"),
        ("1.2.840.10045.4.3.1", "sha224"),
        ("1.2.840.10045.4.3.2", "sha256"),
        ("1.2.840.10045.4.3.3", "sha384"),
        ("1.2.840.10045.4.3.4", "sha512"),
        ("1.2.840.10040.4.3", "sha1"),
        ("2.16.840.1.101.3.4.3.2", "sha256"),
    )
}
_DIGESTS = {
    object_identifier(number): name
    for number, name in (
        ("1.3.14.3.2.26", "sha1"),
        ("2.16.840.1.101.3.4.2.4", "sha224"),
        ("2.16.840.1.101.3.4.2.1", "sha256"),
        ("2.16.840.1.101.3.4.2.2", "sha384"),
        ("2.16.840.1.101.3.4.2.3", "sha512"),
    )
}
_PSS = object_identifier("1.2.840.113549.1.1.10")
_WITHOUT_HASH = set(map(object_identifier, ("1.3.101.112", "1.3.101.113")))
_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    each.name: each for each in (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}


def hash_name(algorithm: bytes) -> str | None:
    """The hash in a signature's AlgorithmIdentifier; None where there is none (EdDSA), or UNKNOWN_HASH."""
    try:
        kind, digest = _parts(algorithm)
    except ValueError:
        return UNKNOWN_HASH
    if kind in _WITHOUT_HASH:
        return None
    return digest or UNKNOWN_HASH


def is_signature_of(
    key: CertificatePublicKeyTypes | None, algorithm: bytes, signature: bytes, signed: bytes
) -> bool | None:
    """None when it can't be checked here: an unknown algorithm, a hash that is not accepted, or an unusual key."""
    try:
        kind, digest = _parts(algorithm)
    except ValueError:
        return None
    chosen = _ALGORITHMS.get(digest or "")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and chosen is not None:
            ask_library(lambda: key.verify(signature, signed, ec.ECDSA(chosen)))
        elif isinstance(key, rsa.RSAPublicKey) and chosen is not None:
            scheme = padding.PSS(padding.MGF1(chosen), padding.PSS.AUTO) if kind == _PSS else padding.PKCS1v15()
            ask_library(lambda: key.verify(signature, signed, scheme, chosen))
        elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            ask_library(lambda: key.verify(signature, signed))
        else:
            return None
    except Unreadable as error:
        return False if isinstance(error.__cause__, InvalidSignature) else None
    return True


def _parts(algorithm: bytes) -> tuple[bytes, str | None]:
    """OID and hash. RFC 4055 §3.1: RSASSA-PSS names its hash in its parameters, SHA-1 where it names none."""
    _, start, end = element(algorithm, 0, len(algorithm))
    _, kind_start, kind_end = element(algorithm, start, end)
    kind = algorithm[kind_start:kind_end]
    if kind != _PSS:
        return kind, _HASHES.get(kind)
    if kind_end == end:
        return kind, "sha1"
    _, parameters, parameters_end = element(algorithm, kind_end, end)
    for tag, value, value_end in elements(algorithm, parameters, parameters_end):
        if tag == 0xA0:
            _, inner, inner_end = element(algorithm, value, value_end)
            inner_tag, oid_start, oid_end = element(algorithm, inner, inner_end)
            return kind, _DIGESTS.get(algorithm[oid_start:oid_end]) if inner_tag == OBJECT_IDENTIFIER else None
    return kind, "sha1"
