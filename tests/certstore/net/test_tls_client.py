"""Chains as in-house CAs make them are taken by every Python; wrong ones are not."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from certstore.net.tls_client import verifying_context

HOST = "mail.internal.test"


class PlainAuthority:
    """Certificates without key identifiers."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "in-house CA")])
        builder = self._builder(self._name, self._key.public_key())
        root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.root_pem = root.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, host: str) -> bytes:
        """Key and certificate in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        leaf = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        pem = leaf.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(self._name, subject, key, 1, now - timedelta(days=1), now + timedelta(days=1))


def shake_hands(context: ssl.SSLContext, server_pem: Path, host: str) -> None:
    """Over memory; raises ssl.SSLError where the client does not trust."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server_pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    authority = PlainAuthority()
    (tmp_path / "server.pem").write_bytes(authority.issue(HOST))
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    return tmp_path / "root.pem"


def test_chain_without_key_identifiers_is_trusted(root: Path, tmp_path: Path) -> None:
    shake_hands(verifying_context(root), tmp_path / "server.pem", HOST)


def test_other_name_and_other_authority_are_not_trusted(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(verifying_context(root), tmp_path / "server.pem", "other.internal.test")
    (tmp_path / "other.pem").write_bytes(PlainAuthority().root_pem)
    for context in (verifying_context(tmp_path / "other.pem"), verifying_context()):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(context, tmp_path / "server.pem", HOST)


def test_strict_checks_would_refuse_that_chain(root: Path, tmp_path: Path) -> None:
    context = verifying_context(root)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, tmp_path / "server.pem", HOST)
