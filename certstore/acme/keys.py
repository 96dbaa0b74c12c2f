"""Private keys, and the certificate requests signed with them. Stores nothing."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def parts_of(key_type: str) -> tuple[str, ...]:
    """One certificate is ordered per part. The two of `ec256+rsa2048` become one version."""
    return tuple(key_type.split("+"))


def make_key(part: str) -> PrivateKey:
    """`part` is one of `parts_of`."""
    if part == "ec256":
        return ec.generate_private_key(ec.SECP256R1())
    if part == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(part.removeprefix("rsa")))


def part_of(key: PrivateKey) -> str:
    """The inverse of `make_key`: the word for a key of this kind."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"ec{key.curve.key_size}"
    return f"rsa{key.key_size}"


def to_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_pem(pem: bytes) -> PrivateKey:
    """Raises ValueError."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError("neither an EC nor an RSA key")  # noqa: TRY004  a matter of content
    return key


def make_csr(key: PrivateKey, names: Sequence[str]) -> x509.CertificateSigningRequest:
    """All names are subject alternative names. A common name holds only 64 characters and has no meaning today."""
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
