"""Rules that no issued pair of the other tests reaches."""

import dataclasses
import datetime as dt

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from certstore.model.certificate.chain import Chain
from certstore.model.certificate.checks import chain_problems, check_pair
from certstore.model.certificate.findings import Problem, Refusal
from certstore.model.certificate.x509_facts import read_certificate
from tests.certificates import make_key
from tests.certstore.model.bundles import CA, DAY, NOW, ONE, PASSWORD, accepted, is_whole, refused

LEAF = read_certificate(ONE.cert_der)
INTERMEDIATE = read_certificate(ONE.chain[0].public_bytes(serialization.Encoding.DER))


def test_expired_intermediate_is_noted_and_served() -> None:
    chain = Chain((INTERMEDIATE,), reaches_root=False)
    assert list(chain_problems(LEAF, chain, NOW)) == []
    (found,) = chain_problems(LEAF, chain, INTERMEDIATE.not_after)
    assert found.code == Problem.INTERMEDIATE_EXPIRED
    assert f"{INTERMEDIATE.not_after:%Y-%m-%d}" in found.message


def test_rsa_key_that_makes_every_handshake_slow_is_refused() -> None:
    """Making one takes a minute, so its size is only claimed here."""
    key = make_key("rsa2048")
    rsa = read_certificate(CA.issue("a.test", private_key=key).cert_der)
    assert check_pair(rsa, key, "file", NOW, ()) == ()
    (found,) = check_pair(dataclasses.replace(rsa, key_bits=16384), key, "file", NOW, ())
    assert found.code == Refusal.UNSUPPORTED_KEY
    assert "16384 bits" in found.message


def test_everything_that_speaks_against_a_pair_is_reported_together() -> None:
    poor = CA.issue("z.test", is_ca=True, key_type="rsa1024", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert {each.code for each in refused(poor.combined_pem, names=("a.test",))} == {
        Refusal.CA_LEAF,
        Refusal.WEAK_KEY,
        Refusal.EXPIRED,
        Refusal.WRONG_NAME,
    }


def test_key_that_no_certificate_can_have_does_no_harm() -> None:
    agreement = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert is_whole(accepted(agreement, ONE.combined_pem).primary, ONE)
    assert [each.code for each in refused(agreement, ONE.fullchain_pem)] == [Refusal.UNSUPPORTED_KEY]


def test_damaged_collections_are_unreadable() -> None:
    pkcs7 = b"-----BEGIN PKCS7-----\nMAsGCSqGSIb3DQEHAg==\n-----END PKCS7-----\n"
    assert [each.code for each in refused(ONE.privkey_pem, pkcs7)] == [Refusal.UNREADABLE]
    pkcs12 = bytes.fromhex("3005020103") + b"\x30\x00"
    assert [each.code for each in refused(pkcs12, password=PASSWORD)] == [Refusal.WRONG_PASSWORD]


def test_days_are_shown_in_utc_in_any_time_zone() -> None:
    now = dt.datetime(2040, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=9)))
    (found,) = refused(ONE.combined_pem, now=now)
    assert f"expired on {ONE.not_after:%Y-%m-%d %H:%M} UTC" in found.message
