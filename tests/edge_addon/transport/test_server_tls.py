"""The TLS transport alone, between a server in memory and a protocol that answers immediately.

upstream/test_upstream_tls.py and mail/test_upstream.py test it against real servers.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from edge_addon.transport.server_tls import TlsTransport, upstream_context
from edge_addon.transport.tls_stage import TlsStage
from tests.certificates import CertificateAuthority


class Lower(asyncio.Transport):
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def close(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class Echo(asyncio.Protocol):
    """A protocol that answers all data."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: list[Exception | None] = []
        self.transport: TlsTransport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Echo, TlsTransport, Lower, TlsStage]:
    """Both ends after the handshake."""
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    authority.issue("localhost").write_to(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    server, lower, echo = TlsStage(context), Lower(), Echo()
    problems: list[OSError | None] = []
    transport = TlsTransport(echo, upstream_context(tmp_path / "ca.pem"), "localhost", problems.append)
    echo.transport = transport
    transport.connection_made(lower)
    while not problems:
        server.feed(lower.take())
        try:
            server.handshake()
        except ssl.SSLWantReadError:
            pass
        transport.data_received(server.output())
    assert problems == [None]
    server.feed(lower.take())
    server.handshake()
    return echo, transport, lower, server


def test_data_passes_both_ways(ends: tuple[Echo, TlsTransport, Lower, TlsStage]) -> None:
    echo, transport, lower, server = ends
    server.write(b"hello")
    transport.data_received(server.output())
    assert echo.heard == b"hello"
    assert server.receive(lower.take()) == b"hello"


def test_data_before_a_broken_record_is_delivered_but_can_not_be_answered(
    ends: tuple[Echo, TlsTransport, Lower, TlsStage],
) -> None:
    echo, transport, lower, server = ends
    server.write(b"hello")
    whole = server.output()
    server.write(b"again")
    broken = bytearray(server.output())
    broken[-1] ^= 1
    transport.data_received(whole + bytes(broken))
    assert echo.heard == b"hello"
    assert lower.is_closed
    transport.connection_lost(None)
    (problem,) = echo.lost
    assert isinstance(problem, ssl.SSLError)
