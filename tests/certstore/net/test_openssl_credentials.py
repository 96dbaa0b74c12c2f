"""Certificates and keys as the library decodes them; `transport/test_served_contexts` shows them to clients."""

import ssl

import pytest

from certstore.net.openssl_credentials import decode
from tests.certificates import CertificateAuthority

CA = CertificateAuthority()
ONE, OTHER, RSA = CA.issue("a.test"), CA.issue("b.test"), CA.issue("a.test", key_type="rsa2048")
ED, WITHOUT_CHAIN = CA.issue("a.test", key_type="ed25519"), CertificateAuthority(intermediate=False).issue("a.test")


def test_sites_with_the_same_intermediates_and_kind_of_key_have_the_same_chain() -> None:
    keys = [decode([(each.fullchain_pem, each.privkey_pem)]).chain_key for each in (ONE, OTHER, RSA, ED, WITHOUT_CHAIN)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert keys[4][0][1] == b""


def test_each_certificate_has_a_session_context_of_its_own_and_two_pairs_another() -> None:
    found = [
        bytes(decode([(each.fullchain_pem, each.privkey_pem) for each in pairs]).session_context)
        for pairs in ([ONE], [OTHER], [RSA], [ONE, RSA], [RSA, ONE])
    ]
    assert len(set(found)) == len(found)
    assert found[0] == bytes(decode([(ONE.cert_pem, ONE.privkey_pem)]).session_context), "it is the certificate's"


def test_the_full_chain_comes_back_as_it_was() -> None:
    (chain,) = decode([(ONE.fullchain_pem, ONE.privkey_pem)]).fullchains
    assert chain.split() == ONE.fullchain_pem.split()


@pytest.mark.parametrize(
    ("fullchain", "privkey", "words"),
    [
        (b"", ONE.privkey_pem, "no start line"),
        (ONE.fullchain_pem, b"", "."),
        (ONE.fullchain_pem, RSA.privkey_pem, "key type mismatch"),
        (RSA.fullchain_pem, ONE.privkey_pem, "key type mismatch"),
        (ONE.fullchain_pem, ONE.encrypted_privkey_pem(b"word"), "."),
        (ONE.fullchain_pem, ONE.encrypted_privkey_pem(b"word", traditional=True), "."),
    ],
)
def test_what_can_not_be_read_raises(fullchain: bytes, privkey: bytes, words: str) -> None:
    with pytest.raises(ssl.SSLError, match=words):
        decode([(fullchain, privkey)])


def test_two_pairs_weigh_more_than_one() -> None:
    one = decode([(ONE.fullchain_pem, ONE.privkey_pem)]).size
    assert 6500 < one < decode([(each.fullchain_pem, each.privkey_pem) for each in (ONE, RSA)]).size < 20_000


def test_a_long_chain_weighs_too_and_an_ordinary_one_that_sites_share_does_not() -> None:
    alone, usual, long = (
        decode([(ONE.cert_pem + b"\n" + ONE.chain_pem * count, ONE.privkey_pem)]).size for count in (0, 3, 1000)
    )
    assert alone == usual
    assert long > 900 * len(ONE.chain_pem)


def test_the_old_label_of_a_certificate_does_not_hide_its_intermediates() -> None:
    """OpenSSL reads it, so two sites with different intermediates would share a context."""
    old = ONE.cert_pem.replace(b"CERTIFICATE", b"X509 CERTIFICATE") + ONE.chain_pem
    assert decode([(old, ONE.privkey_pem)]).chain_key == decode([(ONE.fullchain_pem, ONE.privkey_pem)]).chain_key
