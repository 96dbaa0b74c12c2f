"""The program that tries, called in this process; `test_trial` has the table and the bounds."""

import ssl

import pytest

from certstore.net.memory_handshake import shake_hands
from certstore.net.tls_server import server_context
from certstore.store.trial_child import try_pairs
from tests.certificates import CertificateAuthority, Issued

CA = CertificateAuthority()
EC, OTHER, RSA = CA.issue("a.test"), CA.issue("a.test"), CA.issue("a.test", key_type="rsa2048")


def pair(certificate: Issued, key: Issued | None = None) -> tuple[str, str]:
    return certificate.fullchain_pem.decode(), (key or certificate).privkey_pem.decode()


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        pytest.param([pair(EC)], None, id="one pair"),
        pytest.param([pair(EC), pair(RSA)], None, id="two pairs"),
        pytest.param([pair(EC, OTHER)], "key values mismatch", id="a wrong key"),
        pytest.param([pair(EC), pair(RSA, EC)], "no certificate assigned", id="a second wrong"),
        pytest.param([("", "")], "pem lib", id="nothing"),
    ],
)
def test_pairs_are_loaded_and_handshakes_made(pairs: list[tuple[str, str]], reason: str | None) -> None:
    assert try_pairs(pairs) == reason


def test_a_server_without_a_certificate_shakes_no_hands() -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context(), client)
