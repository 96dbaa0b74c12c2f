"""Rules that no issued pair of the other tests reaches."""

import dataclasses
import datetime as dt

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from certstore.model.certificate.chain import Chain
from certstore.model.certificate.checks import chain_problems, check_pair
from certstore.model.certificate.der import encoded, object_identifier
from certstore.model.certificate.findings import Problem, Refusal
from certstore.model.certificate.x509_facts import read_certificate
from tests.certificates import CertificateAuthority, make_key
from tests.certstore.model.bundles import CA, DAY, NOW, ONE, PASSWORD, accepted, is_whole, refused
from tests.certstore.model.certificate.odd_certificates import (
    AUTHORITY_ID,
    FEATURES,
    ISSUER,
    KEY,
    SAN,
    SUBJECT,
    Change,
    changed,
    key_of,
    parts_of,
    put,
    sequence,
    to_text,
    with_extension,
    without_extension,
)
from tests.certstore.model.certificate.odd_certificates import LEAF as ODD_LEAF

LEAF = read_certificate(ONE.cert_der)
INTERMEDIATE = read_certificate(ONE.chain[0].public_bytes(serialization.Encoding.DER))


def test_expired_intermediate_is_noted_and_served() -> None:
    chain = Chain((INTERMEDIATE,), reaches_root=False)
    assert list(chain_problems(LEAF, chain, NOW)) == []
    (found,) = chain_problems(LEAF, chain, INTERMEDIATE.not_after)
    assert found.code == Problem.INTERMEDIATE_EXPIRED
    assert f"{INTERMEDIATE.not_after:%Y-%m-%d}" in found.message


def test_intermediate_that_is_not_valid_yet_is_noted() -> None:
    chain = Chain((INTERMEDIATE,), reaches_root=False)
    (found,) = chain_problems(LEAF, chain, INTERMEDIATE.not_before - DAY)
    assert found.code == Problem.INTERMEDIATE_NOT_YET_VALID
    assert list(chain_problems(LEAF, chain, INTERMEDIATE.not_before)) == []


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


# Rules that clients hold a server to


def long_names(count: int) -> tuple[str, ...]:
    return tuple(f"{'x' * 50}.{number}.{'y' * 50}.a.test" for number in range(count))


def test_chain_of_more_than_64_kilobytes_is_refused_and_may_be_forced() -> None:
    issued = CA.issue(*long_names(600))
    assert len(issued.cert_der) > 65_536
    (found,) = refused(issued.combined_pem)
    assert (found.code, found.is_forcible) == (Refusal.CLIENTS_REFUSE, True)
    assert "65536" in found.message
    assert Problem.CLIENTS_REFUSE in {each.code for each in accepted(issued.combined_pem, force=True).problems}
    assert len(CA.issue(*long_names(400)).cert_der) < 65_536
    (noted,) = accepted(CA.issue(*long_names(400)).combined_pem).problems
    assert noted.code == Problem.MANY_NAMES


@pytest.mark.parametrize(("count", "noted"), [(100, []), (101, [Problem.MANY_NAMES])])
def test_more_than_a_hundred_names_are_noted(count: int, noted: list[Problem]) -> None:
    issued = CA.issue(*(f"n{number}.a.test" for number in range(count)))
    assert [each.code for each in accepted(issued.combined_pem).problems] == noted


@pytest.mark.parametrize(
    ("features", "noted"),
    [
        pytest.param(b"\x02\x01\x05", [Problem.MUST_STAPLE], id="status_request"),
        pytest.param(b"\x02\x01\x11", [Problem.MUST_STAPLE], id="status_request_v2"),
        pytest.param(b"\x02\x01\x63\x02\x01\x05", [Problem.MUST_STAPLE], id="among others"),
        pytest.param(b"\x02\x01\x63", [], id="an unknown feature"),
        pytest.param(b"", [], id="none"),
    ],
)
def test_must_staple_is_noted_with_the_remedy(features: bytes, noted: list[Problem]) -> None:
    odd = to_text(changed(with_extension(FEATURES, sequence(features))))
    problems = accepted(ODD_LEAF.privkey_pem, odd, ODD_LEAF.chain_pem).problems
    assert [each.code for each in problems] == noted
    assert all("order one without it" in each.message for each in problems)


@pytest.mark.parametrize(("key_type", "noted"), [("ec256", []), ("ec384", []), ("ec521", [Problem.RARE_KEY])])
def test_key_that_some_browsers_refuse_is_noted(key_type: str, noted: list[Problem]) -> None:
    issued = CA.issue("a.test", key_type=key_type)
    assert [each.code for each in accepted(issued.combined_pem).problems] == noted
    beside = CertificateAuthority("Beside", key_type=key_type).issue("a.test")
    assert [each.code for each in accepted(beside.combined_pem).problems] == noted


@pytest.mark.parametrize("names", [("a_b.test",), ("bücher.test".encode(),)], ids=["underscore", "U-label"])
def test_name_that_no_client_can_ask_for_is_noted(names: tuple[str | bytes, ...]) -> None:
    entries = [encoded(0x82, each if isinstance(each, bytes) else each.encode()) for each in ("a.test", *names)]
    odd = to_text(changed(with_extension(SAN, sequence(*entries))))
    (found,) = accepted(ODD_LEAF.privkey_pem, odd, ODD_LEAF.chain_pem).problems
    assert found.code == Problem.UNUSABLE_NAME
    assert "no host name" in found.message


def explicit_curve(parts: list[bytes]) -> None:
    """RFC 5480 §2.1.1 forbids it: the numbers of P-256 in place of its name."""
    algorithm, point = parts_of(parts[KEY])
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    g = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    g += "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    order = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    field = sequence(encoded(6, object_identifier("1.2.840.10045.1.1")), encoded(2, b"\0" + prime.to_bytes(32, "big")))
    curve = sequence(encoded(4, (prime - 3).to_bytes(32, "big")), encoded(4, b))
    numbers = sequence(b"\x02\x01\x01", field, curve, encoded(4, b"\x04" + bytes.fromhex(g)), encoded(2, b"\0" + order))
    parts[KEY] = sequence(sequence(parts_of(algorithm)[0], numbers), point)


@pytest.mark.parametrize("parameters", [explicit_curve], ids=["explicit parameters"])
def test_curve_by_numbers_in_a_certificate_is_refused(parameters: Change) -> None:
    odd = to_text(changed(parameters))
    (found,) = refused(ODD_LEAF.privkey_pem, odd, ODD_LEAF.chain_pem)
    assert found.code == Refusal.UNSUPPORTED_KEY
    assert "explicit parameters" in found.message


def test_curve_by_numbers_in_an_intermediate_is_refused_and_in_a_root_is_not_looked_at() -> None:
    upper = CertificateAuthority("Upper", intermediate=False)
    key = ec.generate_private_key(ec.SECP256R1())
    lower = upper.issue("lower", is_ca=True, private_key=key, extended_key_usage=None)
    leaf = changed(
        put(ISSUER, parts_of(parts_of(lower.cert_der)[0])[SUBJECT]), without_extension(AUTHORITY_ID), key=key
    )
    odd = changed(explicit_curve, certificate=lower.certificate, key=key_of(upper))
    (found,) = refused(ODD_LEAF.privkey_pem, to_text(leaf, odd))
    assert (found.code, "intermediate" in found.message) == (Refusal.UNSUPPORTED_KEY, True)
    root = changed(explicit_curve, certificate=upper.root, key=key_of(upper))
    assert accepted(ODD_LEAF.privkey_pem, to_text(leaf, lower.cert_der, root)).problems == ()


@pytest.mark.parametrize("with_root", [True, False])
def test_ed25519_anywhere_in_what_is_sent_is_refused_and_may_be_forced(with_root: bool) -> None:
    authority = CertificateAuthority("Modern", key_type="ed25519")
    issued = authority.issue("a.test")
    beside = authority.root_pem if with_root else b""
    (found,) = refused(issued.combined_pem, beside)
    assert (found.code, found.is_forcible) == (Refusal.CLIENTS_REFUSE, True)
    assert Problem.CLIENTS_REFUSE in {each.code for each in accepted(issued.combined_pem, beside, force=True).problems}
