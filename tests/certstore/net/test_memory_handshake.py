"""Handshakes in memory, with what serves on either engine."""

import ssl

import pytest

from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.tls_engine import EngineName, load
from certstore.net.tls_server import server_context
from tests.certificates import CertificateAuthority
from tests.tls_engines import ENGINES, engine_of

ISSUED = CertificateAuthority().issue("a.test")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_has_the_certificate_and_the_one_version_that_it_speaks(
    engine: EngineName, version: ssl.TLSVersion
) -> None:
    with engine_of(engine):
        server = load([(ISSUED.fullchain_pem.decode(), ISSUED.privkey_pem.decode())])
    seen = shake_hands(server, trusting_client(version))
    assert seen.getpeercert(binary_form=True) == ISSUED.cert_der
    assert seen.version() == version.name.replace("v1_", "v1.")


def test_a_server_without_a_certificate_fails() -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)no.shared.cipher"):
        shake_hands(server_context(), trusting_client(VERSIONS[0]))


class Silent:
    def stage(self) -> "Silent":
        return self

    def feed(self, data: object) -> int:
        return 0

    def handshake(self) -> None:
        raise ssl.SSLWantReadError

    def output(self) -> bytes:
        return b""


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    with pytest.raises(ssl.SSLError, match="it does not end"):
        shake_hands(Silent(), trusting_client(VERSIONS[0]))
