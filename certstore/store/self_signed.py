"""The certificate of the first start: self-signed, so that listeners can open before there is a real one.

It is installed like every other certificate, and the first real one replaces it. Knows nothing of the store.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.model.certificate.dropped_file import DroppedFile

_LIFETIME = timedelta(days=365)
# So that clients whose clock is a little behind accept it.
_BACKDATED = timedelta(hours=1)
_COMMON_NAME_LIMIT = 64  # RFC 5280 appendix A.1, ub-common-name


def make_self_signed(host: str, now: datetime) -> tuple[DroppedFile, ...]:
    """A key and a certificate for `host`, as files that could have been dropped."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_COMMON_NAME_LIMIT])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    privkey_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    cert_pem = certificate.public_bytes(serialization.Encoding.PEM)
    return (DroppedFile("self-signed key", privkey_pem), DroppedFile("self-signed certificate", cert_pem))
