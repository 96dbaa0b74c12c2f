"""Real sockets: a server that answers slowly or without end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certstore.acme.network import Conversation, OrderFailed
from certstore.model.renewal.failure import Cause
from certstore.net import bounded_http
from tests.certificates import CertificateAuthority

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DIRECTORY = b'{"newNonce": "n", "newAccount": "a", "newOrder": "o"}'
CA = CertificateAuthority()


@contextmanager
def serving(answer: Callable[[socket.socket], None], *, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that lets `answer` speak on each connection; what it raises on a closed one is expected."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), connection:
                    if context is None:
                        answer(connection)
                    else:
                        with context.wrap_socket(connection, server_side=True) as secure:
                            answer(secure)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def dripping(first: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            time.sleep(0.05)
            connection.sendall(drop)

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_SECONDS", 0.6)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (HEAD + b"Content-Length: 1000000\r\n\r\n{", b" "),
        (HEAD + b"Connection: close\r\n\r\n{", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["a body of known length", "a body up to the end", "chunks", "a head", "nothing final"],
)
@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])
def test_a_ca_that_drips_its_answer_holds_nobody(first: bytes, drop: bytes, is_secure: bool, tmp_path: Path) -> None:
    context = None
    if is_secure:
        site = CA.issue("localhost")
        (tmp_path / "ca.pem").write_bytes(CA.root_pem)
        (tmp_path / "site.pem").write_bytes(site.combined_pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "site.pem")
    scheme, ca_file = ("https", tmp_path / "ca.pem") if is_secure else ("http", None)
    with serving(dripping(first, drop), context=context) as port, pytest.raises(OrderFailed) as caught:
        Conversation.begin(f"{scheme}://localhost:{port}/d", ca_file=ca_file)
    assert caught.value.failure.cause is Cause.CA_UNREACHABLE
    assert "within 0.6 seconds" in caught.value.failure.detail


def test_an_answer_without_end_is_not_kept() -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(b" " * 65_536)

    with serving(answer) as port, pytest.raises(OrderFailed) as caught:
        Conversation.begin(f"http://127.0.0.1:{port}/d")
    assert "longer than" in caught.value.failure.detail


def test_a_whole_answer_is_read_and_its_connection_serves_again() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        while said := connection.recv(4096):
            seen.append(said)
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(DIRECTORY) + DIRECTORY)

    with serving(answer) as port:
        url = f"http://127.0.0.1:{port}/d"
        conversation = Conversation.begin(url)
        assert conversation.has("newOrder")
        assert conversation.get(url).json()["newOrder"] == "o", "on the same connection: only one is taken at a time"
        conversation.close()
    assert len(seen) == 2


@pytest.mark.parametrize("answer", [DIRECTORY, b"{}"], ids=["closed by its user", "no directory"])
def test_connection_is_closed_at_once_and_not_by_the_garbage_collector(answer: bytes) -> None:
    has_ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        while connection.recv(4096):
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
        has_ended.set()

    kept: list[object] = []
    with serving(serve) as port:
        try:
            conversation = Conversation.begin(f"http://127.0.0.1:{port}/d")
        except OrderFailed as failed:
            kept.append(failed)
        else:
            conversation.close()
            kept.append(conversation)
        assert has_ended.wait(10)
