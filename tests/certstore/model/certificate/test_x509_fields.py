"""Fields against the library's own reading; what OpenSSL says to odd ones is tested in `test_odd_certificates`."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.certificate.der import encoded
from certstore.model.certificate.x509_fields import NO_TIME, VALIDITY, read_fields
from tests.certstore.model.bundles import CA, ONE
from tests.certstore.model.certificate.odd_certificates import (
    FEATURES,
    SAN,
    SERIAL,
    Change,
    changed,
    put,
    sequence,
    with_extension,
)
from tests.certstore.model.certificate.odd_certificates import VALIDITY as TIMES


@pytest.mark.parametrize("certificate", [ONE.certificate, ONE.chain[0], CA.root], ids=["leaf", "intermediate", "root"])
def test_fields_are_those_that_the_library_reads(certificate: x509.Certificate) -> None:
    fields = read_fields(certificate.public_bytes(serialization.Encoding.DER))
    assert (fields.serial, fields.signature) == (certificate.serial_number, certificate.signature)
    assert (fields.issuer, fields.subject) == (certificate.issuer.public_bytes(), certificate.subject.public_bytes())
    assert (fields.not_before, fields.not_after) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    assert fields.signed == certificate.tbs_certificate_bytes
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert fields.subject_key_id == identifier
    assert (fields.oddities, fields.has_explicit_curve) == ((), False)


def at(year: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(year, 1, 1, hour, tzinfo=dt.UTC)


def times(begins: bytes, ends: bytes, tag: int = 0x17) -> Change:
    return put(TIMES, sequence(encoded(tag, begins), encoded(tag, ends)))


@pytest.mark.parametrize(
    ("change", "not_after", "is_odd"),
    [
        pytest.param(times(b"491231235959Z", b"500101000000Z"), at(1950), False, id="two digits"),
        pytest.param(times(b"20000101000000Z", b"20490101000000Z", 0x18), at(2049), False, id="four"),
        pytest.param(times(b"200101000000Z", b"200101013000+0130"), at(2020), True, id="a zone"),
        pytest.param(times(b"200101000000Z", b"200101013000-0130"), at(2020, 3), True, id="west"),
        pytest.param(times(b"200101000000Z", b"20200101000000.7Z", 0x18), at(2020), True, id="fraction"),
        pytest.param(times(b"200101000000Z", b"201301000000Z"), NO_TIME, True, id="month 13"),
        pytest.param(times(b"", b""), NO_TIME, True, id="nothing"),
    ],
)
def test_times(change: Change, not_after: dt.datetime, is_odd: bool) -> None:
    fields = read_fields(changed(change))
    assert fields.not_after == not_after
    assert fields.oddities == ((VALIDITY,) if is_odd else ())


@pytest.mark.parametrize(
    ("oid", "name"), [(SAN, "subjectAltName"), (FEATURES, "TLS features")], ids=["names", "features"]
)
def test_extension_that_cannot_be_read_is_as_if_absent_and_named(oid: str, name: str) -> None:
    fields = read_fields(changed(with_extension(oid, b"\x04\x01")))
    assert fields.oddities == (name,)
    assert fields.is_for_servers


def test_serial_may_be_negative() -> None:
    assert read_fields(changed(put(SERIAL, b"\x02\x01\xfb"))).serial == -5


@given(st.integers(0, len(ONE.cert_der) - 1), st.integers(0, 255), st.integers(0, 4))
def test_any_change_is_read_or_is_a_value_error(position: int, value: int, cut: int) -> None:
    der = bytearray(ONE.cert_der)
    der[position] = value
    del der[position + 1 : position + 1 + cut]
    try:
        read_fields(bytes(der))
    except (ValueError, IndexError):
        return
