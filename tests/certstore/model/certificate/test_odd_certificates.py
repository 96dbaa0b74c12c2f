"""What OpenSSL loads and a client accepts is served, whatever a strict parser holds against it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certstore.model.certificate.bundle import CertificateBundle
from certstore.model.certificate.der import encoded, object_identifier
from tests.certificates import CertificateAuthority
from tests.certstore.model.bundles import read
from tests.certstore.model.certificate.odd_certificates import (
    ALGORITHM,
    AUTHORITY,
    AUTHORITY_ID,
    BASIC,
    EXTENDED,
    FEATURES,
    ISSUER,
    KEY_USAGE,
    LEAF,
    POLICIES,
    SAN,
    SERIAL,
    SUBJECT,
    SUBJECT_ID,
    VALIDITY,
    Change,
    changed,
    common_name,
    key_of,
    parts_of,
    peer_accepts,
    put,
    sequence,
    to_text,
    with_extension,
    without_extension,
)

GOOD_NAME = encoded(0x82, b"a.test")
TRUE, TRUE_AS_ONE, FALSE = b"\x01\x01\xff", b"\x01\x01\x01", b"\x01\x01\x00"
DIGITAL_SIGNATURE = encoded(3, b"\x07\x80")
ROOT_NAME = encoded(0xA1, encoded(0xA4, common_name(0x0C, b"Odd Root")))
OID = encoded(6, object_identifier("1.3.6.1.4.1.99999.1"))


def name(*entries: bytes) -> bytes:
    return sequence(GOOD_NAME, *entries)


def validity(begins: bytes, ends: bytes, tag: int = 0x17) -> Change:
    return put(VALIDITY, sequence(encoded(tag, begins), encoded(tag, ends)))


def notice(tag: int, text: bytes) -> bytes:
    user = sequence(encoded(tag, text))
    return sequence(sequence(OID, sequence(sequence(encoded(6, object_identifier("1.3.6.1.5.5.7.2.2")), user))))


def version(number: int) -> Change:
    return put(0, encoded(0xA0, encoded(2, bytes([number]))))


def with_unique_ids(parts: list[bytes]) -> None:
    parts[-1:-1] = [encoded(0x81, b"\x00\x01"), encoded(0x82, b"\x00\x02")]


CHANGES: dict[str, tuple[Change, bool]] = {
    # serial numbers
    "a negative serial": (put(SERIAL, b"\x02\x01\xfb"), True),
    "serial zero": (put(SERIAL, b"\x02\x01\x00"), True),
    "a serial of 40 bytes": (put(SERIAL, encoded(2, b"\x7f" * 40)), True),
    "a serial with needless zeros": (put(SERIAL, b"\x02\x03\x00\x00\x07"), False),
    "an empty serial": (put(SERIAL, b"\x02\x00"), False),
    # versions
    "version 2 with extensions": (version(1), True),
    "version 4": (version(3), True),
    "unique identifiers": (with_unique_ids, True),
    # names
    "subject in Teletex": (put(SUBJECT, common_name(0x14, b"M\xfcller")), True),
    "subject in BMP": (put(SUBJECT, common_name(0x1E, "Müller".encode("utf-16-be"))), True),
    "subject in UniversalString": (put(SUBJECT, common_name(0x1C, "Müller".encode("utf-32-be"))), True),
    "subject Printable with forbidden signs": (put(SUBJECT, common_name(0x13, b"*.a_b@c.test")), True),
    "subject IA5 beyond ASCII": (put(SUBJECT, common_name(0x16, b"M\xfcller")), True),
    "subject in broken UTF-8": (put(SUBJECT, common_name(0x0C, b"M\xfcller")), False),
    "subject of 300 characters": (put(SUBJECT, common_name(0x0C, b"x" * 300)), True),
    "an empty subject": (put(SUBJECT, sequence()), True),
    "an empty value in the subject": (put(SUBJECT, common_name(0x0C, b"")), True),
    "a number as the subject's value": (put(SUBJECT, common_name(0x02, b"\x07")), False),
    # SAN entries
    "an address of five bytes": (with_extension(SAN, name(encoded(0x87, b"\x01\x02\x03\x04\x05"))), True),
    "a URI in latin-1": (with_extension(SAN, name(encoded(0x86, b"http://m\xfcller/"))), True),
    "a mail address in UTF-8": (with_extension(SAN, name(encoded(0x81, "ü@a.test".encode()))), True),
    "a DNS name in UTF-8": (with_extension(SAN, name(encoded(0x82, "bücher.test".encode()))), True),
    "a DNS name with an underscore": (with_extension(SAN, name(encoded(0x82, b"a_b.test"))), True),
    "an empty DNS name": (with_extension(SAN, name(encoded(0x82, b""))), True),
    "a DNS name with a blank": (with_extension(SAN, name(encoded(0x82, b" b.test"))), True),
    "another name": (with_extension(SAN, name(encoded(0xA0, OID + encoded(0xA0, encoded(0x0C, b"x"))))), True),
    "an X.400 address": (with_extension(SAN, name(encoded(0xA3, sequence()))), True),
    "a registered identifier": (with_extension(SAN, name(encoded(0x88, object_identifier("1.2.3.4")))), True),
    "a directory name in Teletex": (with_extension(SAN, name(encoded(0xA4, common_name(0x14, b"\xfc")))), True),
    "SAN that is none": (with_extension(SAN, b"\x04\x00"), False),
    # times
    "GeneralizedTime before 2050": (validity(b"20200101000000Z", b"20491231235959Z", 0x18), True),
    "GeneralizedTime of the year 9999": (validity(b"20200101000000Z", b"99991231235959Z", 0x18), True),
    "no seconds": (validity(b"2001010000Z", b"4912312359Z"), False),
    "a time zone": (validity(b"200101000000+0100", b"491231235959+0100"), False),
    "fractions of a second": (validity(b"20200101000000.5Z", b"20491231235959.5Z", 0x18), False),
    "a time that is none": (validity(b"hello", b"world"), False),
    # the extensions that matter here
    "CA:FALSE with a path length": (with_extension(BASIC, sequence(b"\x02\x01\x00"), TRUE), True),
    "CA:FALSE written out": (with_extension(BASIC, sequence(FALSE), TRUE), True),
    "a boolean of 1": (with_extension(BASIC, sequence(), TRUE_AS_ONE), True),
    "critical: false written out": (with_extension(BASIC, sequence(), FALSE), True),
    "key usage with needless bits": (with_extension(KEY_USAGE, encoded(3, b"\x00\x80\x00")), True),
    "key usage of nine bits": (with_extension(KEY_USAGE, encoded(3, b"\x07\x80\x80")), True),
    "key usage without any bit": (with_extension(KEY_USAGE, encoded(3, b"\x00")), False),
    "extended usage with unknown ones": (
        with_extension(EXTENDED, sequence(OID, encoded(6, object_identifier("1.3.6.1.5.5.7.3.1")), OID)), True
    ),
    "authority's key id with a name and no serial": (
        with_extension(AUTHORITY_ID, sequence(ROOT_NAME)), True
    ),
    "authority's key id that is empty": (with_extension(AUTHORITY_ID, sequence()), True),
    "authority's key id of another key": (with_extension(AUTHORITY_ID, sequence(encoded(0x80, b"other"))), False),
    "authority's key id that is none": (with_extension(AUTHORITY_ID, b"\x04\x00"), False),
    "subject's key id that is empty": (with_extension(SUBJECT_ID, encoded(4, b"")), True),
    "TLS feature 99": (with_extension(FEATURES, sequence(b"\x02\x01\x63")), True),
    "a TLS feature of eight bytes": (with_extension(FEATURES, sequence(encoded(2, b"\x7f" * 8))), True),
    "TLS features that are none": (with_extension(FEATURES, b"\x04\x00"), True),
    "two extensions of one kind": (with_extension(SAN, name(), again=True), False),
    # extensions that have no part in serving
    "a policy notice in latin-1": (with_extension(POLICIES, notice(0x0C, b"Pol\xedtica")), True),
    "a policy notice in latin-1, as IA5": (with_extension(POLICIES, notice(0x16, b"Pol\xedtica")), True),
    "a policy notice of 500 characters": (with_extension(POLICIES, notice(0x0C, b"x" * 500)), True),
    "an unknown qualifier": (with_extension(POLICIES, sequence(sequence(OID, sequence(sequence(OID, OID))))), True),
    "one policy twice": (with_extension(POLICIES, sequence(sequence(OID), sequence(OID))), True),
    "no policy": (with_extension(POLICIES, sequence()), True),
    "policies that are none": (with_extension(POLICIES, b"\x04\x00"), True),
    "name constraints in a leaf": (
        with_extension("2.5.29.30", sequence(encoded(0xA0, sequence(encoded(0x82, b"b.test"))))), True
    ),
    "name constraints that are none": (with_extension("2.5.29.30", b"\x04\x00"), False),
    "revocation lists at nothing": (with_extension("2.5.29.31", sequence()), True),
    "revocation lists that are none": (with_extension("2.5.29.31", b"\x04\x00"), False),
    "revocation list at a URI in latin-1": (
        with_extension("2.5.29.31", sequence(sequence(encoded(0xA0, encoded(0xA0, encoded(0x86, b"http://\xfc")))))),
        True,
    ),
    "access to the authority that is none": (with_extension("1.3.6.1.5.5.7.1.1", b"\x04\x00"), True),
    "access to the authority at a URI in latin-1": (
        with_extension("1.3.6.1.5.5.7.1.1", sequence(sequence(OID, encoded(0x86, b"http://\xfc")))), True
    ),
    "proofs of logs that are none": (with_extension("1.3.6.1.4.1.11129.2.4.2", encoded(4, b"\x00\x09x")), True),
    "a Netscape comment in latin-1": (with_extension("2.16.840.1.113730.1.13", encoded(0x16, b"\xfc")), True),
    "Netscape's type for clients": (with_extension("2.16.840.1.113730.1.1", encoded(3, b"\x07\x80")), False),
    "an unknown extension with odd content": (with_extension("1.2.3.4", b"\xff\xff\xff"), True),
    "an unknown extension that is critical": (with_extension("1.2.3.4", b"\x05\x00", TRUE), False),
    # what is around
    "ECDSA with a needless NULL": (
        put(ALGORITHM, sequence(encoded(6, object_identifier("1.2.840.10045.4.3.2")), b"\x05\x00")), True
    ),
    "the issuer's name in another kind of string": (put(ISSUER, common_name(0x13, b"Odd Intermediate")), True),
    "the issuer's name in capitals": (put(ISSUER, common_name(0x0C, b"ODD  intermediate")), True),
    "another issuer": (put(ISSUER, common_name(0x0C, b"Even Intermediate")), False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_peer_accepts_is_served_and_nothing_else(change: str) -> None:
    how, right = CHANGES[change]
    chain = to_text(changed(how)) + LEAF.chain_pem
    assert peer_accepts(chain, LEAF.privkey_pem, AUTHORITY.root_pem) is right, "the table tells what OpenSSL does"
    result = read(LEAF.privkey_pem, chain, names=("a.test",))
    is_whole = isinstance(result, CertificateBundle) and not any("missing" in each.message for each in result.problems)
    assert is_whole is right, result


UPPER = CertificateAuthority("Upper", intermediate=False)
LOWER_KEY = ec.generate_private_key(ec.SECP256R1())
LOWER = UPPER.issue("lower", is_ca=True, private_key=LOWER_KEY, extended_key_usage=None)
CONSTRAINTS = "2.5.29.30"
LOWER_CHANGES: dict[str, tuple[Change, bool]] = {
    "as it is": (with_extension("1.2.3.4", b"\x05\x00"), True),
    "its own name in Teletex": (put(SUBJECT, common_name(0x14, b"M\xfcller")), True),
    "a negative serial": (put(SERIAL, b"\x02\x01\xfb"), True),
    "a policy notice in latin-1": (with_extension(POLICIES, notice(0x0C, b"Pol\xedtica")), True),
    "CA as 1": (with_extension(BASIC, sequence(TRUE_AS_ONE), TRUE), True),
    "no basic constraints": (without_extension(BASIC), False),
    "a path length of 0": (with_extension(BASIC, sequence(TRUE, b"\x02\x01\x00"), TRUE), True),
    "a negative path length": (with_extension(BASIC, sequence(TRUE, b"\x02\x01\xff"), TRUE), False),
    "key usage without certificates": (with_extension(KEY_USAGE, DIGITAL_SIGNATURE), False),
    "key usage with certificates": (with_extension(KEY_USAGE, encoded(3, b"\x02\x04")), True),
    "for clients only": (with_extension(EXTENDED, sequence(encoded(6, object_identifier("1.3.6.1.5.5.7.3.2")))), False),
    "constraints that allow the name": (
        with_extension(CONSTRAINTS, sequence(encoded(0xA0, sequence(encoded(0x82, b"test")))), TRUE), True
    ),
    "constraints that forbid the name": (
        with_extension(CONSTRAINTS, sequence(encoded(0xA1, sequence(encoded(0x82, b"a.test")))), TRUE), False
    ),
    "constraints for other names": (
        with_extension(CONSTRAINTS, sequence(encoded(0xA0, sequence(encoded(0x82, b"b.test")))), TRUE), False
    ),
    "an unknown extension that is critical": (with_extension("1.2.3.4", b"\x05\x00", TRUE), False),
    "times with a zone": (validity(b"200101000000+0100", b"491231235959+0100"), False),
    "TLS feature 99": (with_extension(FEATURES, sequence(b"\x02\x01\x63")), True),
}  # fmt: skip


@pytest.mark.parametrize("change", LOWER_CHANGES)
def test_intermediate_that_a_peer_accepts_is_served_and_no_other(change: str) -> None:
    how, right = LOWER_CHANGES[change]
    lower = changed(how, certificate=LOWER.certificate, key=key_of(UPPER))
    issuer = put(ISSUER, parts_of(parts_of(lower)[0])[SUBJECT])
    chain = to_text(changed(issuer, without_extension(AUTHORITY_ID), key=LOWER_KEY), lower)
    assert peer_accepts(chain, LEAF.privkey_pem, UPPER.root_pem) is right, "the table tells what OpenSSL does"
    result = read(LEAF.privkey_pem, chain, names=("a.test",))
    is_whole = isinstance(result, CertificateBundle) and not any("missing" in each.message for each in result.problems)
    assert is_whole is right, result


@pytest.mark.parametrize("change", [change for change, (_, right) in LOWER_CHANGES.items() if not right])
@pytest.mark.parametrize("is_first", [True, False])
def test_good_namesake_stands_in_for_an_intermediate_that_clients_refuse(change: str, is_first: bool) -> None:
    how, _ = LOWER_CHANGES[change]
    upper_key = key_of(UPPER)
    lower = LOWER.cert_der
    odd = changed(how, certificate=LOWER.certificate, key=upper_key)
    leaf = changed(put(ISSUER, parts_of(parts_of(lower)[0])[SUBJECT]), without_extension(AUTHORITY_ID), key=LOWER_KEY)
    chain = [leaf, odd, lower] if is_first else [leaf, lower, odd]
    bundle = read(LEAF.privkey_pem, to_text(*chain), names=("a.test",))
    assert isinstance(bundle, CertificateBundle), bundle
    assert bundle.primary.fullchain_pem == to_text(leaf, lower)


def test_odd_root_beside_a_whole_pair_is_not_judged() -> None:
    """Teletex, unknown critical extensions and a time that is none: it is not sent."""
    root = changed(
        put(SUBJECT, common_name(0x14, b"M\xfcller")),
        put(ISSUER, common_name(0x14, b"M\xfcller")),
        with_extension("1.2.3.4", b"\x05\x00", TRUE),
        validity(b"hello", b"world"),
        certificate=UPPER.root,
    )
    bundle = read(LEAF.combined_pem, to_text(root), names=("a.test",))
    assert isinstance(bundle, CertificateBundle)
    assert (bundle.primary.fullchain_pem, bundle.problems) == (LEAF.fullchain_pem, ())
