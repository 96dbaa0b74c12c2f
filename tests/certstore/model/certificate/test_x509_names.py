"""Names of every encoding, as text and for comparing."""

import pytest
from cryptography import x509

from certstore.model.certificate.der import encoded
from certstore.model.certificate.x509_names import attribute_texts, comparable, name_text
from tests.certificates import CertificateAuthority
from tests.certstore.model.certificate.odd_certificates import common_name, sequence


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        pytest.param(0x0C, "Müller".encode(), "CN=Müller", id="UTF-8"),
        pytest.param(0x13, b"Mail", "CN=Mail", id="Printable"),
        pytest.param(0x14, b"M\xfcller", "CN=Müller", id="Teletex, as latin-1"),
        pytest.param(0x1E, "Müller".encode("utf-16-be"), "CN=Müller", id="BMP"),
        pytest.param(0x1C, "Müller".encode("utf-32-be"), "CN=Müller", id="Universal"),
        pytest.param(0x0C, b"M\xfcller", "CN=M\ufffdller", id="broken UTF-8"),
        pytest.param(0x04, b"\x01", "CN=#01", id="no text at all"),
        pytest.param(0x0C, b"a,b+c", r"CN=a\,b\+c", id="with separators"),
    ],
)
def test_text(tag: int, value: bytes, text: str) -> None:
    assert name_text(common_name(tag, value)) == text


def test_text_is_what_the_library_writes() -> None:
    name = x509.Name.from_rfc4514_string(r"CN=mail\, too,OU=b,O=Müller GmbH,C=DE")
    assert name_text(name.public_bytes()) == name.rfc4514_string()
    assert attribute_texts(name.public_bytes(), "2.5.4.10") == ["Müller GmbH"]


def test_what_is_no_name_has_words_and_never_raises() -> None:
    for broken in (b"", b"\x30\x05\x31", b"\x04\x00", encoded(0x30, b"\x31\x02\x30\x00")):
        assert name_text(broken) == "(a name that can't be read)"
        assert attribute_texts(broken, "2.5.4.10") == []
        assert comparable(broken) == broken
    assert name_text(sequence()) == ""


def test_same_name_in_other_strings_capitals_and_blanks_compares_equal() -> None:
    names = [(0x0C, b"Lab CA"), (0x13, b"lab  ca"), (0x1E, " LAB CA ".encode("utf-16-be"))]
    assert len({comparable(common_name(tag, value)) for tag, value in names}) == 1
    assert comparable(common_name(0x0C, b"Lab CB")) != comparable(common_name(0x0C, b"Lab CA"))
    assert comparable(CertificateAuthority("X").root.subject.public_bytes()) == comparable(
        CertificateAuthority("X").root.issuer.public_bytes()
    )
