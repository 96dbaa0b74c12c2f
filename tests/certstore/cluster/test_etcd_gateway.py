"""Requests to servers that are slow, endless, silent or not the engine."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certstore.cluster.engine import EngineLost, ModifiedAt, Put, Unknown
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.etcd_gateway import AnswerTooLong, Gateway, Unanswered, engine_context
from tests.certificates import CertificateAuthority
from tests.certstore.net.test_bounded_http import serving
from tests.ports import free_port

CA = CertificateAuthority()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SHORT = 0.5
"""Seconds for a request here."""


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(CA.root_pem)
    return tmp_path / "ca.pem"


@pytest.fixture
def server_context(tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "server.pem").write_bytes(CA.issue("localhost").combined_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


type Served = Callable[[Callable[[ssl.SSLSocket], None]], Gateway]


@pytest.fixture
def served(ca_file: Path, server_context: ssl.SSLContext) -> Iterator[Served]:
    """A gateway to a server that reads a request and then does as told."""
    with ExitStack() as running:

        def serve(answer: Callable[[ssl.SSLSocket], None]) -> Gateway:
            def answer_request(connection: ssl.SSLSocket) -> None:
                request = b""
                while b"}" not in request:  # closing with a part unread would reset the connection
                    request += connection.recv(65536)
                answer(connection)

            port = running.enter_context(serving(answer_request, context=server_context))  # type: ignore[arg-type]
            gateway = Gateway(f"https://localhost:{port}", engine_context(ca_file, None))
            running.callback(gateway.close)
            return gateway

        yield serve


def ask(gateway: Gateway) -> object:
    return gateway.ask("/v3/kv/range", {}, SHORT, 1000)


def test_an_answer_is_an_object(served: Served) -> None:
    gateway = served(lambda connection: connection.sendall(HEAD + b'Content-Length: 8\r\n\r\n{"a": 1}'))
    assert ask(gateway) == {"a": 1}


def drip(first: bytes) -> Callable[[ssl.SSLSocket], None]:
    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(first)
        while True:
            time.sleep(0.02)
            connection.sendall(b"1")

    return answer


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"Content-Length: 900\r\n\r\n", HEAD + b"\r\n"],
    ids=["in the head", "in the body", "in a body without a length"],
)
def test_an_answer_that_takes_too_long_is_given_up(served: Served, first: bytes) -> None:
    with pytest.raises(Unanswered, match=r"no whole answer within 0\.5 s"):
        ask(served(drip(first)))


def read_on(connection: ssl.SSLSocket) -> None:
    while connection.recv(65536):
        pass


def test_a_request_can_be_abandoned_from_another_thread(served: Served) -> None:
    asked = threading.Event()

    def answer(connection: ssl.SSLSocket) -> None:
        asked.set()
        read_on(connection)

    gateway = served(answer)
    raised: list[Exception] = []

    def wait() -> None:
        try:
            gateway.ask("/v3/kv/range", {}, 3600)
        except Unanswered as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert asked.wait(15)
    gateway.abandon()
    thread.join(15)
    assert len(raised) == 1


def test_a_silent_server_is_given_up(served: Served) -> None:
    with pytest.raises(Unanswered, match=r"no whole answer within 0\.5 s"):
        ask(served(read_on))


def test_an_answer_that_is_too_long_is_refused(served: Served) -> None:
    with pytest.raises(AnswerTooLong, match="longer than 1000 bytes"):
        ask(served(lambda connection: connection.sendall(HEAD + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000)))


def test_an_answer_that_ends_early_is_none(served: Served) -> None:
    with pytest.raises(Unanswered):
        ask(served(lambda connection: connection.sendall(HEAD + b'Content-Length: 90\r\n\r\n{"a": 1}')))


def test_a_redirect_is_not_followed(served: Served) -> None:
    head = b"HTTP/1.1 307 Temporary\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(Unanswered, match="status 307"):
        ask(served(lambda connection: connection.sendall(head)))


def test_a_commit_whose_answer_is_lost_is_unknown(served: Served, ca_file: Path) -> None:
    gateway = served(lambda connection: None)
    member = EtcdMember(gateway.endpoint, engine_context(ca_file, None))
    assert isinstance(member.commit([ModifiedAt("/a", 0)], [Put("/a", b"x")]), Unknown)
    member.close()


def test_a_commit_that_can_not_be_sent_is_lost_for_sure(ca_file: Path) -> None:
    member = EtcdMember(f"https://localhost:{free_port()}", engine_context(ca_file, None))
    with pytest.raises(EngineLost, match="Connection refused") as caught:
        member.commit([ModifiedAt("/a", 0)], [Put("/a", b"x")])
    assert not isinstance(caught.value, Unanswered)


def test_another_authority_does_not_speak_for_the_engine(
    served: Served, tmp_path: Path, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither do the variables with which others choose authorities and proxies."""
    gateway = served(lambda connection: connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(ca_file))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(gateway) == {}
    (tmp_path / "other.pem").write_bytes(CertificateAuthority().root_pem)
    other = Gateway(gateway.endpoint, engine_context(tmp_path / "other.pem", None))
    with pytest.raises(EngineLost, match="certificate verify failed") as caught:
        ask(other)
    assert not isinstance(caught.value, Unanswered)
    other.close()


def test_a_certificate_for_another_name_does_not_speak_for_the_engine(served: Served, ca_file: Path) -> None:
    gateway = served(lambda connection: connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}"))
    other = Gateway(gateway.endpoint.replace("localhost", "127.0.0.1"), engine_context(ca_file, None))
    with pytest.raises(EngineLost, match="certificate verify failed"):
        ask(other)
    other.close()


def test_a_locked_key_is_refused_without_asking_on_the_terminal(ca_file: Path, tmp_path: Path) -> None:
    issued = CA.issue("edge-a")
    (tmp_path / "locked.pem").write_bytes(issued.encrypted_privkey_pem(b"secret") + issued.cert_pem)
    with pytest.raises(ssl.SSLError):
        engine_context(ca_file, tmp_path / "locked.pem")
