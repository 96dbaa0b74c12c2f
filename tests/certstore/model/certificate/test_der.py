import pytest
from cryptography.hazmat.primitives import serialization

from certstore.model.certificate.der import DerKind, kind_of
from tests.certstore.model.bundles import ONE, PASSWORD

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
