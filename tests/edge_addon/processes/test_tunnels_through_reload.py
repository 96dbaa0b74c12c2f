"""WebSockets that are open while a worker is replaced continue without losing a message, over HTTP/1.1 and HTTP/2."""

import hashlib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.clients import is_gone, peer_ports
from tests.running import RunningEdge, running_edge

CA = CertificateAuthority()
MESSAGES = 1000
RELOAD_AFTER = 100


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def upstream() -> Iterator[Server]:
    with serve(echo, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def edge(tmp_path: Path, upstream: Server) -> Iterator[RunningEdge]:
    port = upstream.socket.getsockname()[1]
    settings = {"listeners": [{"kind": "https"}], "upstream": f"http://127.0.0.1:{port}"}
    with running_edge(tmp_path, settings, {"main": CA.issue("edge.test")}) as running:
        yield running


def trust(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def reload_while_open(edge: RunningEdge, local_port: int) -> int:
    """Replace the worker; returns the old one, which still serves this connection."""
    (old,) = edge.worker_pids()
    assert local_port in peer_ports(old)
    edge.reload()
    assert set(edge.worker_pids()) - {old}, "a new worker serves"
    assert local_port in peer_ports(old)
    return old


def test_a_websocket_over_http1_survives_a_replacement(edge: RunningEdge) -> None:
    with (
        socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as plain,
        connect("wss://edge.test/", sock=plain, ssl=trust(), server_hostname="edge.test", compression=None) as client,
    ):
        old = 0
        for number in range(MESSAGES):
            if number == RELOAD_AFTER:
                old = reload_while_open(edge, client.local_address[1])
            client.send(f"message {number}")
            assert client.recv(timeout=60) == f"message {number}"

    wait_for(lambda: is_gone(old), "the old worker ends with its last connection")


def test_a_websocket_over_http2_survives_a_replacement(edge: RunningEdge) -> None:
    """RFC 8441. The tunnel carries WebSocket frames, unmasked only on the way back."""
    with (
        closing(socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)) as plain,
        trust("h2").wrap_socket(plain, server_hostname="edge.test") as secure,
    ):
        tunnel = Http2Tunnel(secure)
        old = 0
        for number in range(MESSAGES):
            if number == RELOAD_AFTER:
                old = reload_while_open(edge, secure.getsockname()[1])
            payload = b"message %d" % number
            tunnel.send(masked_text_frame(payload))
            assert tunnel.read(2 + len(payload)) == bytes((0x81, len(payload))) + payload

    wait_for(lambda: is_gone(old), "the old worker ends with its last connection")


def masked_text_frame(payload: bytes) -> bytes:
    """RFC 6455 §5.2: a final text frame of fewer than 126 bytes, masked as from a client."""
    mask = hashlib.sha256(payload).digest()[:4]
    return bytes((0x81, 0x80 | len(payload))) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class Http2Tunnel:
    """One WebSocket stream on one HTTP/2 connection, which notes a GOAWAY and continues."""

    def __init__(self, secure: ssl.SSLSocket) -> None:
        self._socket = secure
        self._received = bytearray()
        self.has_goaway = False
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._stream = self._h2.get_next_available_stream_id()
        fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":path": "/"}
        fields |= {":authority": "edge.test", "sec-websocket-version": "13"}
        fields["sec-websocket-key"] = b64encode(bytes(16)).decode()  # not used over HTTP/2: the edge generates its own
        self._h2.send_headers(self._stream, list(fields.items()))
        self._is_open = False
        self._flush()
        while not self._is_open:
            self._receive()

    def send(self, data: bytes) -> None:
        self._h2.send_data(self._stream, data)
        self._flush()

    def read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _receive(self) -> None:
        head = self._read_exactly(9)
        frame = head + self._read_exactly(int.from_bytes(head[:3]))
        if frame[3] == 0x7:
            self.has_goaway = True  # after it the library would accept no more frames
            return
        for event in self._h2.receive_data(frame):
            match event:
                case h2.events.ResponseReceived():
                    assert dict(event.headers or ()).get(b":status") == b"200"
                    self._is_open = True
                case h2.events.DataReceived():
                    self._received += event.data or b""
                    self._h2.acknowledge_received_data(event.flow_controlled_length or 0, self._stream)
                case h2.events.StreamReset() | h2.events.StreamEnded():
                    raise AssertionError(f"the stream ended: {event}")
        self._flush()

    def _read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the connection ended"
            data += part
        return data
