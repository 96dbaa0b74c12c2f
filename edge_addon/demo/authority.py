"""The demo's own certificate authority: a root, an intermediate, and certificates for given names.

Created for each demo, and trusted only by its clients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=90)
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its certificate chain, as an admin gets them from a CA."""

    privkey_pem: bytes = field(repr=False)
    fullchain_pem: bytes
    fingerprint: str

    @property
    def combined_pem(self) -> bytes:
        return self.privkey_pem + self.fullchain_pem


@dataclass(frozen=True, slots=True)
class Authority:
    """A root and an intermediate. Clients must trust `root_pem`."""

    root_pem: bytes
    intermediate: x509.Certificate
    intermediate_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> Authority:
        """A new CA, whose certificates are valid since a little before `now`."""
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root_name, name = _name("certedge demo root"), _name("certedge demo CA")
        root = _sign(root_name, root_key, root_name, root_key, now, _CA, _CA_USAGE)
        intermediate = _sign(name, key, root_name, root_key, now, _CA, _CA_USAGE)
        return cls(root.public_bytes(Encoding.PEM), intermediate, key)

    def issue(self, *names: str, now: datetime) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        issuer, issuer_key = self.intermediate.subject, self.intermediate_key
        leaf = _sign(_name(names[0]), key, issuer, issuer_key, now, alternatives, _LEAF, purpose)
        return Pair(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            leaf.public_bytes(Encoding.PEM) + self.intermediate.public_bytes(Encoding.PEM),
            leaf.fingerprint(hashes.SHA256()).hex(),
        )


_CA = x509.BasicConstraints(ca=True, path_length=None)
_LEAF = x509.BasicConstraints(ca=False, path_length=None)
_CA_USAGE = x509.KeyUsage(*(bit in {5, 6} for bit in range(9)))  # keyCertSign and cRLSign (RFC 5280 §4.2.1.3)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    """Adds both key identifiers: clients since Python 3.13 refuse a chain without them (RFC 5280 §4.2.1.1)."""
    public_key = key.public_key()
    builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now - CLOCK_SKEW + LIFETIME)
    identifiers = (
        x509.SubjectKeyIdentifier.from_public_key(public_key),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
    )
    for extension in (*identifiers, *extensions):
        is_critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(issuer_key, hashes.SHA256())
