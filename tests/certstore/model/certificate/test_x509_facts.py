"""Facts of real certificates. What is refused because of them is tested in `test_checks` and `test_bundle_refusals`."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed448, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.model.certificate.library import Unreadable
from certstore.model.certificate.x509_facts import describe_key, is_signed_by, public_key_of, read_certificate
from tests.certificates import CertificateAuthority, make_key
from tests.certstore.model.bundles import CA, ONE, OTHER

LEAF = read_certificate(ONE.cert_der)
SIGNER = read_certificate(ONE.chain[0].public_bytes(serialization.Encoding.DER))


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, content_commitment=False, key_encipherment=True, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def test_facts_of_a_leaf() -> None:
    assert (LEAF.label, LEAF.dns_names) == ("a.test", ("a.test", "b.test"))
    assert (LEAF.fingerprint, LEAF.not_before, LEAF.not_after) == (ONE.fingerprint, ONE.not_before, ONE.not_after)
    assert (LEAF.is_ca, LEAF.is_self_issued, LEAF.signature_hash) == (False, False, "sha256")
    assert LEAF.issuer == SIGNER.subject
    assert LEAF.authority_key_id == SIGNER.subject_key_id is not None
    assert LEAF.issuer_text == "CN=Test CA Intermediate"


def test_key_pairs_with_its_own_certificate_only() -> None:
    assert public_key_of(ONE.private_key) == LEAF.spki
    assert public_key_of(OTHER.private_key) != LEAF.spki


def test_certificate_is_read_once() -> None:
    assert read_certificate(ONE.cert_der) is read_certificate(ONE.cert_der)


@pytest.mark.parametrize(
    ("names", "common_name", "dns_names", "label"),
    [
        pytest.param(("A.Test.", "a.test"), None, ("a.test",), "a.test", id="one name in two spellings"),
        pytest.param(("*.a.test",), None, ("*.a.test",), "*.a.test", id="a wildcard"),
        pytest.param(("no name", "a.test"), None, ("a.test",), "a.test", id="what is no host name is left out"),
        pytest.param((), "a.test", (), "CN=a.test", id="a common name is no DNS name"),
    ],
)
def test_names(names: tuple[str, ...], common_name: str | None, dns_names: tuple[str, ...], label: str) -> None:
    facts = read_certificate(CA.issue(*names, common_name=common_name).cert_der)
    assert (facts.dns_names, facts.label) == (dns_names, label)


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        pytest.param(None, True, id="without the extension every use is allowed"),
        pytest.param((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), True, id="servers too"),
        pytest.param((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), True, id="any use"),
        pytest.param((ExtendedKeyUsageOID.CLIENT_AUTH,), False, id="clients only"),
    ],
)
def test_use_for_servers(usages: tuple[x509.ObjectIdentifier, ...] | None, expected: bool) -> None:
    issued = CA.issue("a.test", extended_key_usage=usages)
    assert read_certificate(issued.cert_der).is_for_servers is expected


@pytest.mark.parametrize(
    ("key_usage", "expected"),
    [
        pytest.param(None, True, id="without the extension"),
        pytest.param(usage(signs=True), True, id="digitalSignature"),
        pytest.param(usage(signs=False), False, id="no digitalSignature"),
    ],
)
def test_use_for_handshakes(key_usage: x509.KeyUsage | None, expected: bool) -> None:
    assert read_certificate(CA.issue("a.test", key_usage=key_usage).cert_der).may_sign is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(make_key("ec256"), ("ec", 256), id="P-256"),
        pytest.param(make_key("ec521"), ("ec", 521), id="P-521"),
        pytest.param(make_key("ec256k1"), ("an EC (secp256k1)", 256), id="a curve that TLS does not use"),
        pytest.param(make_key("rsa1024"), ("rsa", 1024), id="RSA"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), ("an Ed25519", 256), id="Ed25519"),
        pytest.param(ed448.Ed448PrivateKey.generate(), ("an Ed448", 456), id="Ed448"),
        pytest.param(dsa.generate_private_key(1024), ("a DSA", 1024), id="DSA"),  # noqa: S505
        pytest.param(x25519.X25519PrivateKey.generate(), ("an unusual", 0), id="a key that signs nothing"),
    ],
)
def test_key_is_described(key: PrivateKeyTypes, expected: tuple[str, int]) -> None:
    assert describe_key(key) == expected
    assert describe_key(key.public_key()) == expected  # type: ignore[arg-type]  # an X25519 key is in no certificate


@pytest.mark.parametrize("der", [b"", b"\x30\x00", ONE.cert_der[:-1], ONE.privkey_der], ids=["none", "0", "cut", "key"])
def test_what_is_no_certificate_is_unreadable(der: bytes) -> None:
    with pytest.raises(Unreadable):
        read_certificate(der)


def test_hash_of_a_signature_is_none_where_it_has_no_hash() -> None:
    assert read_certificate(CA.issue("a.test", self_signed=True, key_type="ed25519").cert_der).signature_hash is None


@pytest.mark.parametrize("key_type", ["ec256", "ec384", "rsa2048", "ed25519"])
def test_signatures_of_every_kind_are_checked(key_type: str) -> None:
    authority, other = (CertificateAuthority("Same name", key_type=key_type) for _ in range(2))
    leaf = read_certificate(authority.issue("a.test").cert_der)
    right, wrong = (
        read_certificate(x509.load_pem_x509_certificate(each.intermediate_pem).public_bytes(serialization.Encoding.DER))
        for each in (authority, other)
    )
    assert is_signed_by(leaf, right) is True
    assert is_signed_by(leaf, wrong) is False


def test_signature_needs_the_issuers_name_too() -> None:
    assert is_signed_by(LEAF, SIGNER) is True
    assert is_signed_by(SIGNER, LEAF) is False
