"""The form in which a private key is stored beside its certificate.

The crypto library takes an RSA-PSS key (RFC 4055) for a plain RSA key and would write it as one, which the TLS library
does not accept beside a certificate for an RSA-PSS key. Every other key is written as plain PKCS #8.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from certstore.model.certificate.der import algorithm_of_private_key, first_element, with_algorithm
from certstore.model.certificate.pem import to_pem
from certstore.model.certificate.x509_fields import read_fields

_RSASSA_PSS = bytes.fromhex("06092a864886f70d01010a")  # 1.2.840.113549.1.1.10
_LABEL = "PRIVATE KEY"


def stored_key(key: PrivateKeyTypes, came_as: bytes, certificate: bytes) -> bytes:
    """The key as PEM. `came_as` are the bytes that it was read from."""
    if _is_pss(came_as):
        return to_pem(_LABEL, came_as)
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if is_for_pss_only(certificate):
        # It was encrypted, or in a form that can't say for which kind of signatures it is.
        plain = with_algorithm(plain, first_element(read_fields(certificate).spki))
    return to_pem(_LABEL, plain)


def is_for_pss_only(certificate: bytes) -> bool:
    """Whether a certificate (DER) has an RSA-PSS key."""
    return _RSASSA_PSS in first_element(read_fields(certificate).spki)[:16]


def _is_pss(came_as: bytes) -> bool:
    try:
        return _RSASSA_PSS in algorithm_of_private_key(came_as)[:16]
    except ValueError:
        return False
