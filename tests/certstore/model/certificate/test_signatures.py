import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, padding, rsa

from certstore.model.certificate.der import encoded, object_identifier
from certstore.model.certificate.signatures import UNKNOWN_HASH, hash_name, is_signature_of
from certstore.model.certificate.x509_fields import read_fields
from tests.certificates import CertificateAuthority, make_key

SHA256_RSA = encoded(0x30, encoded(6, object_identifier("1.2.840.113549.1.1.11")) + b"\x05\x00")


@pytest.mark.parametrize("key_type", ["ec256", "ec384", "rsa2048", "ed25519"])
def test_signature_is_verified(key_type: str) -> None:
    authority = CertificateAuthority("Signer", key_type=key_type)
    fields = read_fields(authority.issue("a.test").cert_der)
    signer = x509.load_pem_x509_certificate(authority.intermediate_pem).public_key()
    parts = fields.signature_algorithm, fields.signature
    assert is_signature_of(signer, *parts, fields.signed) is True
    assert is_signature_of(signer, *parts, fields.signed + b"x") is False
    assert is_signature_of(None, *parts, fields.signed) is None


def test_signature_of_rsa_pss() -> None:
    key = make_key("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    digest = encoded(0x30, encoded(6, object_identifier("2.16.840.1.101.3.4.2.2")))
    kind = encoded(6, object_identifier("1.2.840.113549.1.1.10"))
    algorithm = encoded(0x30, kind + encoded(0x30, encoded(0xA0, digest)))
    assert is_signature_of(key.public_key(), algorithm, key.sign(b"x", scheme, hashes.SHA384()), b"x") is True
    assert hash_name(algorithm) == "sha384"
    assert hash_name(encoded(0x30, kind)) == "sha1"


@pytest.mark.parametrize(
    ("oid", "name"),
    [
        ("1.2.840.113549.1.1.4", "md5"),
        ("1.2.840.113549.1.1.5", "sha1"),
        ("1.2.840.10045.4.3.2", "sha256"),
        ("1.3.101.112", None),
        ("1.2.3.4", UNKNOWN_HASH),
    ],
)
def test_hash(oid: str, name: str | None) -> None:
    assert hash_name(encoded(0x30, encoded(6, object_identifier(oid)))) == name


def test_what_cannot_be_checked_is_no_verdict() -> None:
    assert hash_name(b"\x30") == UNKNOWN_HASH
    assert is_signature_of(make_key("rsa2048").public_key(), b"\x30", b"", b"") is None
    sha1 = encoded(0x30, encoded(6, object_identifier("1.2.840.113549.1.1.5")))
    assert is_signature_of(make_key("rsa2048").public_key(), sha1, b"x", b"x") is None
    assert is_signature_of(make_key("rsa2048").public_key(), SHA256_RSA, b"x", b"x") is False
    for key in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()):
        assert is_signature_of(key.public_key(), SHA256_RSA, b"x", b"x") is False
