"""One certificate's facts, read once: what pairing, checking and ordering a chain need.

`read_certificate` caches a few hundred certificates, as thousands of sites share a handful of intermediates. Decides
nothing.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.model.certificate.der import issuer_and_subject
from certstore.model.names import is_host_name

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    InternalError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""Everything the crypto library raises for bytes that it can't read."""

UNKNOWN_HASH = "unknown"
_TLS_CURVES = {"secp256r1", "secp384r1", "secp521r1"}


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: `contents` keeps one per certificate
class CertificateFacts:
    """`spki` is the DER of `public_key`, what pairs it with a private key; `signature_hash` is None for EdDSA.

    `label` is what messages call it: its first name, else its subject. `dns_names` holds the SAN's usable DNS names in
    normal form; a common name plays no part (RFC 9525 §6.2). `issuer` and `subject` are names as they are encoded.
    """

    label: str
    certificate: x509.Certificate = field(repr=False)
    der: bytes = field(repr=False)
    public_key: CertificatePublicKeyTypes = field(repr=False)
    spki: bytes = field(repr=False)
    issuer: bytes = field(repr=False)
    subject: bytes = field(repr=False)
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_ca: bool
    is_for_servers: bool
    may_sign: bool
    key_kind: str
    key_bits: int
    signature_hash: str | None
    subject_key_id: bytes | None
    authority_key_id: bytes | None

    @property
    def is_self_issued(self) -> bool:
        return self.subject == self.issuer

    @property
    def issuer_text(self) -> str:
        """In RFC 4514's form, for people. An encoding that the library refuses is not the administrator's fault."""
        try:
            return self.certificate.issuer.rfc4514_string()
        except UNREADABLE:
            return "(a name that can't be read)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()


@functools.lru_cache(maxsize=512)
def read_certificate(der: bytes) -> CertificateFacts:
    """Raises one of UNREADABLE."""
    certificate = x509.load_der_x509_certificate(der)
    public_key = certificate.public_key()
    issuer, subject = issuer_and_subject(der)
    extensions = {each.oid: each.value for each in certificate.extensions}
    key_kind, key_bits = describe_key(public_key)
    dns_names = _dns_names(extensions.get(x509.SubjectAlternativeName.oid))
    return CertificateFacts(
        label=dns_names[0] if dns_names else certificate.subject.rfc4514_string() or "(no subject)",
        certificate=certificate,
        der=der,
        public_key=public_key,
        spki=_spki(public_key),
        issuer=issuer,
        subject=subject,
        dns_names=dns_names,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_ca=_is_ca(extensions.get(x509.BasicConstraints.oid)),
        is_for_servers=_is_for_servers(extensions.get(x509.ExtendedKeyUsage.oid)),
        may_sign=_may_sign(extensions.get(x509.KeyUsage.oid)),
        key_kind=key_kind,
        key_bits=key_bits,
        signature_hash=_signature_hash(certificate),
        subject_key_id=_subject_key_id(extensions.get(x509.SubjectKeyIdentifier.oid)),
        authority_key_id=_authority_key_id(extensions.get(x509.AuthorityKeyIdentifier.oid)),
    )


def is_signed_by(child: CertificateFacts, issuer: CertificateFacts) -> bool | None:
    """Whether the issuer's name and key made this certificate; None when the algorithm can't be checked here."""
    if child.issuer != issuer.subject:
        return False
    certificate, key = child.certificate, issuer.public_key
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            # The same as the general way below, but with the issuer's key read once and not for each of its leaves.
            scheme = certificate.signature_algorithm_parameters
            if not isinstance(scheme, ec.ECDSA):
                return False
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, scheme)
        else:
            certificate.verify_directly_issued_by(issuer.certificate)
    except InvalidSignature:
        return False
    except UNREADABLE:
        return None
    return True


def public_key_of(key: PrivateKeyTypes) -> bytes:
    """The SPKI of a private key, to compare with `CertificateFacts.spki`; raises one of UNREADABLE."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def describe_key(key: CertificatePublicKeyTypes | PrivateKeyTypes) -> tuple[str, int]:
    """Kind (`ec`, `rsa`, or words for messages) and size in bits; an EC curve that TLS does not use has words."""
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return "ec" if key.curve.name in _TLS_CURVES else f"an EC ({key.curve.name})", key.key_size
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return "rsa", key.key_size
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return "an Ed25519", 256
        case ed448.Ed448PublicKey() | ed448.Ed448PrivateKey():
            return "an Ed448", 456
        case dsa.DSAPublicKey() | dsa.DSAPrivateKey():
            return "a DSA", key.key_size
        case _:
            return "an unusual", 0


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# Each function takes the extension's value, or None where the certificate has no such extension.


def _dns_names(san: x509.ExtensionType | None) -> tuple[str, ...]:
    if not isinstance(san, x509.SubjectAlternativeName):
        return ()
    names = (name.lower().removesuffix(".") for name in san.get_values_for_type(x509.DNSName))
    return tuple(dict.fromkeys(name for name in names if is_host_name(name.removeprefix("*."))))


def _is_ca(constraints: x509.ExtensionType | None) -> bool:
    return isinstance(constraints, x509.BasicConstraints) and constraints.ca


def _is_for_servers(usages: x509.ExtensionType | None) -> bool:
    """RFC 5280 §4.2.1.12: without the extension, every use is allowed."""
    if not isinstance(usages, x509.ExtendedKeyUsage):
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _may_sign(usage: x509.ExtensionType | None) -> bool:
    """Handshakes are signed; RFC 8446 §4.4.2.2: where there is the extension, it has to say digitalSignature."""
    return not isinstance(usage, x509.KeyUsage) or usage.digital_signature


def _subject_key_id(identifier: x509.ExtensionType | None) -> bytes | None:
    return identifier.digest if isinstance(identifier, x509.SubjectKeyIdentifier) else None


def _authority_key_id(identifier: x509.ExtensionType | None) -> bytes | None:
    return identifier.key_identifier if isinstance(identifier, x509.AuthorityKeyIdentifier) else None


def _signature_hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return UNKNOWN_HASH
    return algorithm.name if algorithm is not None else None
