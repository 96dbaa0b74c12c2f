import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_addon.demo.authority import Authority, Pair
from tests.ports import listening_socket

NAME = "webmail.client-a.test"


def handshake(pair: Pair, trusted: Authority, server_name: str, folder: Path) -> None:
    """A verified handshake with a server that presents the pair. Raises ssl.SSLError if the client refuses it."""
    path = folder / "pair.pem"
    path.write_bytes(pair.combined_pem)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(path)
    client_context = ssl.create_default_context(cadata=trusted.root_pem.decode())

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                server_context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return  # the client refused, which is what it then reports

    with listening_socket() as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=60) as plain,
                client_context.wrap_socket(plain, server_hostname=server_name),
            ):
                return
        finally:
            server.join(10)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(datetime.now(UTC))


def test_client_that_trusts_the_root_accepts_a_pair(authority: Authority, tmp_path: Path) -> None:
    handshake(authority.issue(NAME, now=datetime.now(UTC)), authority, NAME, tmp_path)


def test_client_refuses_a_name_that_was_not_asked_for(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue(NAME, now=datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(pair, authority, "webmail.client-b.test", tmp_path)


def test_client_of_another_demo_refuses_the_pair(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue(NAME, now=datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(pair, Authority.create(datetime.now(UTC)), NAME, tmp_path)


def test_key_shows_in_no_representation(authority: Authority) -> None:
    pair = authority.issue(NAME, now=datetime.now(UTC))
    assert "PRIVATE" not in repr(pair)
    assert "_key" not in repr(authority)
