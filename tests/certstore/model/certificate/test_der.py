import pytest
from cryptography.hazmat.primitives import serialization

from certstore.model.certificate.der import DerKind, algorithm_of_private_key, first_element, kind_of, with_algorithm
from certstore.model.certificate.x509_fields import read_fields
from tests.certstore.model.bundles import CA, ONE, PASSWORD

ENCRYPTED = ONE.private_key.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(PASSWORD)
)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(ONE.cert_der, DerKind.CERTIFICATE, id="a certificate"),
        pytest.param(ONE.privkey_der, DerKind.KEY, id="a key"),
        pytest.param(ENCRYPTED, DerKind.ENCRYPTED_KEY, id="an encrypted key"),
        pytest.param(b"\x30\x03\x06\x01\x00", DerKind.PKCS7, id="PKCS 7"),
        pytest.param(b"\x30\x03\x04\x01\x00", None, id="a sequence of something else"),
        pytest.param(b"\x30\x85\x00\x00\x00\x00\x00", None, id="a length of five bytes"),
        pytest.param(ONE.pkcs12(PASSWORD), DerKind.PKCS12, id="PKCS 12"),
        pytest.param(ONE.cert_der[:-1], None, id="cut short"),
        pytest.param(ONE.cert_der + b"\r\n", DerKind.CERTIFICATE, id="something behind it"),
        pytest.param(b"\x30\x80\x02\x01\x03\x00\x00", DerKind.PKCS12, id="indefinite length"),
        pytest.param(b"\x30\x00", None, id="empty"),
        pytest.param(b"0", None, id="one byte"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\x04\x01\x00", None, id="no sequence"),
    ],
)
def test_kind_of_binary_file(content: bytes, kind: DerKind | None) -> None:
    assert kind_of(content) is kind


@pytest.mark.parametrize("key_type", ["ec256", "rsa2048"])
def test_a_key_and_its_certificate_name_one_algorithm(key_type: str) -> None:
    issued = CA.issue("a.test", key_type=key_type)
    algorithm = algorithm_of_private_key(issued.privkey_der)
    assert algorithm == first_element(read_fields(issued.cert_der).spki)
    assert with_algorithm(issued.privkey_der, algorithm) == issued.privkey_der


@pytest.mark.parametrize("size", [1, 120, 200, 60_000])
def test_a_key_gets_another_algorithm_of_any_length(size: int) -> None:
    other = b"\x30\x82" + size.to_bytes(2) + bytes(size)
    changed = with_algorithm(ONE.privkey_der, other)
    assert algorithm_of_private_key(changed) == other
    assert kind_of(changed) is DerKind.KEY, "the lengths around it fit"


def test_a_key_in_another_form_names_no_algorithm() -> None:
    pkcs1 = serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    for content in (CA.issue("a.test", key_type="rsa2048").private_key.private_bytes(*pkcs1), b"", b"-----BEGIN"):
        with pytest.raises(ValueError, match=r"PKCS #8|cut"):
            algorithm_of_private_key(content)
