"""What a client says to what would be sent. The tables of odd certificates compare it with real handshakes."""

from cryptography.hazmat.primitives import serialization

from certstore.model.certificate.client_rules import Complaint, complaint_of_client
from tests.certstore.model.bundles import ONE
from tests.certstore.model.certificate.odd_certificates import LEAF, SUBJECT, changed, common_name, put, with_extension

DER = serialization.Encoding.DER
SIGNER = ONE.chain[0].public_bytes(DER)


def test_good_chains_pass() -> None:
    assert complaint_of_client([ONE.cert_der, SIGNER]) is None
    assert complaint_of_client([ONE.cert_der]) is None, "the last one that is sent is trusted for the question"


def test_complaint_names_the_certificate() -> None:
    odd = changed(with_extension("1.2.3.4", b"\x05\x00", b"\x01\x01\xff"))
    chain = LEAF.chain[0].public_bytes(DER)
    assert complaint_of_client([odd, chain]) == Complaint(0, "unhandled critical extension")
    complaint = complaint_of_client([ONE.cert_der, chain])
    assert complaint is not None
    assert "issuer" in complaint.words


def test_what_no_server_can_load_is_told_apart() -> None:
    broken = changed(put(SUBJECT, common_name(0x0C, b"\xff")))
    assert complaint_of_client([ONE.cert_der, broken]) == Complaint(1, "OpenSSL can't load it", is_unloadable=True)
