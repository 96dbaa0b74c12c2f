"""Putting certificates into the chain that is sent: order, roots, strangers, renewed and cross-signed authorities."""

import datetime as dt
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.model.certificate.chain import order_chain
from certstore.model.certificate.x509_facts import CertificateFacts, is_signed_by, read_certificate
from tests.certificates import CertificateAuthority

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def certified(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ends_in: dt.timedelta = 100 * DAY,
    is_ca: bool = True,
    with_key_ids: bool = True,
) -> CertificateFacts:
    """One certificate of a chain made by hand."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 300 * DAY)
        .not_valid_after(NOW + ends_in)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if with_key_ids:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(issuer_id, critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return read_certificate(certificate.public_bytes(serialization.Encoding.DER))


KEYS = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("leaf", "low", "middle", "high", "root", "old root")}
LEAF = certified("leaf", KEYS["leaf"], "low", KEYS["low"], is_ca=False)
LOW = certified("low", KEYS["low"], "middle", KEYS["middle"])
MIDDLE = certified("middle", KEYS["middle"], "high", KEYS["high"])
HIGH = certified("high", KEYS["high"], "root", KEYS["root"])
ROOT = certified("root", KEYS["root"], "root", KEYS["root"])
CROSSED_ROOT = certified("root", KEYS["root"], "old root", KEYS["old root"])


@pytest.mark.parametrize("order", list(itertools.permutations([LOW, MIDDLE, HIGH, ROOT])))
def test_chain_is_put_in_order_from_any_order(order: tuple[CertificateFacts, ...]) -> None:
    chain = order_chain(LEAF, [LEAF, *order], NOW)
    assert chain.intermediates == (LOW, MIDDLE, HIGH)
    assert chain.reaches_root


def test_chain_without_its_root_ends_where_the_drop_ends() -> None:
    chain = order_chain(LEAF, [MIDDLE, LOW, LEAF], NOW)
    assert (chain.intermediates, chain.reaches_root) == ((LOW, MIDDLE), False)


def test_gap_in_a_chain_ends_it() -> None:
    assert order_chain(LEAF, [HIGH, LOW, ROOT], NOW).intermediates == (LOW,)


def test_strangers_are_left_out() -> None:
    stranger = CertificateAuthority("Stranger")
    others = [
        read_certificate(each.certificate.public_bytes(serialization.Encoding.DER))
        for each in [stranger.issue("x.test")]
    ]
    assert order_chain(LEAF, [*others, LOW, LEAF], NOW).intermediates == (LOW,)


def test_cross_signed_root_is_sent_because_it_is_no_root_there() -> None:
    chain = order_chain(LEAF, [LOW, MIDDLE, HIGH, CROSSED_ROOT], NOW)
    assert chain.intermediates == (LOW, MIDDLE, HIGH, CROSSED_ROOT)
    assert not chain.reaches_root


@pytest.mark.parametrize("order", list(itertools.permutations([LOW, MIDDLE, HIGH, ROOT, CROSSED_ROOT])))
def test_cross_signed_root_goes_before_the_self_signed_one_wherever_they_lie(
    order: tuple[CertificateFacts, ...],
) -> None:
    """Clients that know only the old root need it; those that know the new one stop there."""
    assert order_chain(LEAF, order, NOW).intermediates == (LOW, MIDDLE, HIGH, CROSSED_ROOT)


def test_cross_signed_root_that_has_expired_is_not_sent_where_there_is_the_root() -> None:
    expired = certified("root", KEYS["root"], "old root", KEYS["old root"], ends_in=-DAY)
    chain = order_chain(LEAF, [LOW, MIDDLE, HIGH, expired, ROOT], NOW)
    assert (chain.intermediates, chain.reaches_root) == ((LOW, MIDDLE, HIGH), True)


def test_root_behind_the_cross_signed_one_is_left_out() -> None:
    old_root = certified("old root", KEYS["old root"], "old root", KEYS["old root"])
    chain = order_chain(LEAF, [LOW, MIDDLE, HIGH, ROOT, old_root, CROSSED_ROOT], NOW)
    assert (chain.intermediates, chain.reaches_root) == ((LOW, MIDDLE, HIGH, CROSSED_ROOT), True)


def test_of_a_renewed_authority_the_certificate_that_is_valid_now_is_sent() -> None:
    expired = certified("low", KEYS["low"], "middle", KEYS["middle"], ends_in=-DAY)
    assert order_chain(LEAF, [expired, LOW], NOW).intermediates == (LOW,)
    assert order_chain(LEAF, [expired], NOW).intermediates == (expired,), "the only one is sent all the same"


def test_authorities_that_sign_each_other_do_not_go_round_for_ever() -> None:
    up = certified("low", KEYS["low"], "middle", KEYS["middle"])
    down = certified("middle", KEYS["middle"], "low", KEYS["low"])
    assert order_chain(LEAF, [up, down], NOW).intermediates == (up, down)


def test_namesake_with_another_key_is_no_issuer_and_no_damage() -> None:
    namesake = certified("low", KEYS["high"], "middle", KEYS["middle"])
    chain = order_chain(LEAF, [namesake], NOW)
    assert (chain.intermediates, chain.broken) == ((), None)


def test_namesake_without_key_identifiers_is_told_apart_by_the_signature() -> None:
    leaf = certified("leaf", KEYS["leaf"], "low", KEYS["low"], is_ca=False, with_key_ids=False)
    namesake = certified("low", KEYS["high"], "middle", KEYS["middle"], with_key_ids=False)
    right = certified("low", KEYS["low"], "middle", KEYS["middle"], with_key_ids=False)
    assert order_chain(leaf, [namesake, right], NOW).intermediates == (right,)
    assert order_chain(leaf, [namesake], NOW).broken is None


def test_certificate_that_is_no_ca_signs_nothing() -> None:
    no_ca = certified("low", KEYS["low"], "middle", KEYS["middle"], is_ca=False)
    assert order_chain(LEAF, [no_ca], NOW).intermediates == ()


def test_signature_that_fails_under_the_named_key_is_damage() -> None:
    der = bytearray(LEAF.der)
    der[-1] ^= 1
    damaged = read_certificate(bytes(der))
    assert order_chain(damaged, [LOW], NOW).broken is damaged
    assert order_chain(damaged, [], NOW).broken is None, "without its issuer nobody can tell"


def test_damaged_self_signed_certificate_is_damage_too() -> None:
    issued = CertificateAuthority().issue("a.test", self_signed=True)
    whole = read_certificate(issued.cert_der)
    damaged = read_certificate(issued.cert_der[:-1] + bytes([issued.cert_der[-1] ^ 1]))
    assert order_chain(whole, [whole], NOW).is_self_signed
    assert order_chain(damaged, [damaged], NOW).broken is damaged


def test_signature_algorithm_that_cannot_be_checked_is_no_verdict() -> None:
    authority = CertificateAuthority("Old", key_type="rsa2048")
    leaf = read_certificate(authority.issue("a.test", weak_signature="sha1").cert_der)
    issuer = read_certificate(
        x509.load_pem_x509_certificate(authority.intermediate_pem).public_bytes(serialization.Encoding.DER)
    )
    assert is_signed_by(leaf, issuer) is None
    assert order_chain(leaf, [issuer], NOW).intermediates == (issuer,)
