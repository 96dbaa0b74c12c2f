"""One certificate's facts, read once: what pairing, checking and ordering a chain need.

`read_certificate` caches a few hundred certificates, as thousands of sites share a handful of intermediates. Decides
nothing.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes, PublicKeyTypes

from certstore.model.certificate.der import structures
from certstore.model.certificate.library import Unreadable, ask_library
from certstore.model.certificate.pem import find_blocks
from certstore.model.certificate.signatures import hash_name, is_signature_of
from certstore.model.certificate.x509_fields import Fields, read_fields
from certstore.model.certificate.x509_names import comparable, name_text
from certstore.model.names import is_host_name

_SIZE_LIMIT = 131_072
"""Clients accept no chain of half that size."""
_TLS_CURVES = {"secp256r1", "secp384r1", "secp521r1"}


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: `contents` keeps one per certificate
class CertificateFacts:
    """`spki` is the DER of `public_key` in normal form, what pairs it with a private key; both are empty where the
    library can't read the key. `signature_hash` is None for EdDSA.

    `label` is what messages call it: its first name, else its subject. `dns_names` holds the SAN's usable DNS names in
    normal form, `other_names` the rest of them as they are written; a common name plays no part (RFC 9525 §6.2).
    `issuer` and `subject` are names in the form in which they are compared.
    """

    label: str
    der: bytes = field(repr=False)
    fields: Fields = field(repr=False)
    public_key: CertificatePublicKeyTypes | None = field(repr=False)
    spki: bytes = field(repr=False)
    issuer: object = field(repr=False)
    subject: object = field(repr=False)
    dns_names: tuple[str, ...]
    other_names: tuple[str, ...]
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
        """In RFC 4514's form, for people."""
        return name_text(self.fields.issuer)

    @property
    def serial(self) -> str:
        """In lower-case hex."""
        return f"{self.fields.serial:x}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()


@functools.lru_cache(maxsize=512)
def read_certificate(content: bytes) -> CertificateFacts:
    """The certificate at the beginning of `content`: what follows it, such as OpenSSL's trust settings, is left out.

    Raises Unreadable.
    """
    der = next(structures(content), b"")
    if len(der) > _SIZE_LIMIT:
        raise Unreadable("too large")
    try:
        fields = read_fields(der)
    except (ValueError, IndexError) as error:
        raise Unreadable(str(error)) from error
    public_key, spki = _public_key(fields.spki)
    key_kind, key_bits = describe_key(public_key)
    if fields.has_explicit_curve:
        key_kind = "an EC (explicit parameters)"
    dns_names, other_names = _names(fields.names)
    return CertificateFacts(
        label=dns_names[0] if dns_names else name_text(fields.subject) or "(no subject)",
        der=der,
        fields=fields,
        public_key=public_key,
        spki=spki,
        issuer=comparable(fields.issuer),
        subject=comparable(fields.subject),
        dns_names=dns_names,
        other_names=other_names,
        not_before=fields.not_before,
        not_after=fields.not_after,
        is_ca=fields.is_ca,
        is_for_servers=fields.is_for_servers,
        may_sign=fields.may_sign,
        key_kind=key_kind,
        key_bits=key_bits,
        signature_hash=hash_name(fields.signature_algorithm),
        subject_key_id=fields.subject_key_id,
        authority_key_id=fields.authority_key_id,
    )


def read_pem(pem: bytes) -> list[CertificateFacts]:
    """The certificates in a file of the store or an answer of a CA, in their order. Raises Unreadable."""
    return [read_certificate(each.der or b"") for each in find_blocks(pem).blocks]


def is_signed_by(child: CertificateFacts, issuer: CertificateFacts) -> bool | None:
    """Whether the issuer's name and key made this certificate; None when the algorithm can't be checked here."""
    if child.issuer != issuer.subject:
        return False
    fields = child.fields
    return is_signature_of(issuer.public_key, fields.signature_algorithm, fields.signature, fields.signed)


def public_key_of(key: PrivateKeyTypes) -> bytes:
    """The SPKI of a private key, to compare with `CertificateFacts.spki`; raises Unreadable."""
    return ask_library(lambda: _spki(key.public_key()))


def describe_key(key: CertificatePublicKeyTypes | PrivateKeyTypes | None) -> tuple[str, int]:
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


def _public_key(spki: bytes) -> tuple[CertificatePublicKeyTypes | None, bytes]:
    """The key and its normal form, or nothing where the library does not know its kind."""
    try:
        key = ask_library(lambda: serialization.load_der_public_key(spki))
        return key, _spki(key)  # type: ignore[return-value]  # key agreement keys are in no certificate, and do no harm
    except Unreadable:
        return None, b""


def _spki(key: PublicKeyTypes) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return ask_library(lambda: key.public_bytes(serialization.Encoding.DER, form))


def _names(written: tuple[bytes, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The usable names in normal form, once each, and those that no client can ask for."""
    usable: dict[str, None] = {}
    others: dict[str, None] = {}
    for each in written:
        text = each.decode("ascii", "backslashreplace")
        name = text.lower().removesuffix(".")
        if is_host_name(name.removeprefix("*.")):
            usable[name] = None
        else:
            others[text] = None
    return tuple(usable), tuple(others)
