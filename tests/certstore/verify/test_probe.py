"""Probes of real Dovecot and Postfix, all of whose listeners expect a PROXY header first."""

import dataclasses
import socket
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerKind
from certstore.net.own_address import OwnListener
from certstore.verify.probe import Probe, ProbeFailed, http_status, served_chain
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.peers.dovecot import Dovecot, running_dovecot
from tests.peers.postfix import Postfix, running_postfix
from tests.ports import free_port, listening_socket

CERTIFICATE = CertificateAuthority().issue("mail.peer.test")
TIMEOUT = 15.0

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running_dovecot(CERTIFICATE) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def postfix(dovecot: Dovecot) -> Iterator[Postfix]:
    with running_postfix(CERTIFICATE, dovecot) as postfix:
        yield postfix


def probe(kind: ListenerKind, port: int, *, with_header: bool = True) -> Probe:
    return Probe(kind, OwnListener(HostPort("127.0.0.1", port), with_header), "mail.peer.test")


def whole_chain(issued: Issued) -> list[bytes]:
    return [each.public_bytes(Encoding.DER) for each in (issued.certificate, *issued.chain)]


@pytest.mark.parametrize("kind", ["imap", "imaps", "pop3", "sieve", "lmtp"])
def test_dovecot_serves_its_whole_chain(dovecot: Dovecot, kind: str) -> None:
    port = dovecot.ports.lmtp_proxied if kind == "lmtp" else getattr(dovecot.ports, kind)
    assert served_chain(probe(ListenerKind(kind), port), TIMEOUT) == whole_chain(CERTIFICATE)


@pytest.mark.parametrize(
    ("kind", "port"), [("smtp", "smtp"), ("submission", "submission"), ("submissions", "smtp_tls")]
)
def test_postfix_serves_its_whole_chain(postfix: Postfix, kind: str, port: str) -> None:
    assert served_chain(probe(ListenerKind(kind), getattr(postfix.ports, port)), TIMEOUT) == whole_chain(CERTIFICATE)


@pytest.mark.parametrize("kind", ["imap", "imaps", "pop3", "sieve"])
def test_dovecot_logs_a_client_that_took_its_leave(dovecot: Dovecot, kind: str) -> None:
    before = len(dovecot.log)
    served_chain(probe(ListenerKind(kind), getattr(dovecot.ports, kind)), TIMEOUT)
    wait_for(lambda: "-login: " in dovecot.log[before:], "the entry in Dovecot's log")
    assert "by logging out" in dovecot.log[before:]


@pytest.mark.parametrize(
    ("kind", "port"), [("smtp", "smtp"), ("submission", "submission"), ("submissions", "smtp_tls")]
)
def test_postfix_logs_a_client_that_took_its_leave(postfix: Postfix, kind: str, port: str) -> None:
    before = len(postfix.log)
    served_chain(probe(ListenerKind(kind), getattr(postfix.ports, port)), TIMEOUT)
    wait_for(lambda: "disconnect from" in postfix.log[before:], "the entry in Postfix's log")
    assert "quit=1" in postfix.log[before:]
    assert "lost connection" not in postfix.log[before:]


def test_without_the_header_that_a_listener_waits_for_there_is_no_handshake(dovecot: Dovecot) -> None:
    without = probe(ListenerKind.IMAPS, dovecot.ports.imaps, with_header=False)
    with pytest.raises(ProbeFailed):
        served_chain(without, TIMEOUT)


def test_a_listener_of_another_protocol_is_named_by_what_it_said(dovecot: Dovecot) -> None:
    with pytest.raises(ProbeFailed, match=r"the greeting was answered with '\+OK Dovecot"):
        served_chain(probe(ListenerKind.IMAP, dovecot.ports.pop3), TIMEOUT)


def test_an_rsa_client_is_served_no_ec_certificate(dovecot: Dovecot) -> None:
    asked = dataclasses.replace(probe(ListenerKind.IMAPS, dovecot.ports.imaps), rsa_only=True)
    with pytest.raises(ProbeFailed, match="handshake failed"):
        served_chain(asked, TIMEOUT)


def test_an_address_where_nobody_listens_fails_in_words() -> None:
    with pytest.raises(ProbeFailed, match="Connection refused"):
        served_chain(probe(ListenerKind.IMAPS, free_port()), TIMEOUT)


@pytest.mark.parametrize("kind", [ListenerKind.HTTPS, ListenerKind.IMAP], ids=["TLS at once", "STARTTLS"])
def test_a_listener_that_says_nothing_is_given_up(kind: ListenerKind) -> None:
    with listening_socket() as silent, pytest.raises(ProbeFailed, match=r"no answer within 0\.2 seconds"):
        served_chain(probe(kind, silent.getsockname()[1]), 0.2)


@pytest.mark.parametrize(
    ("says", "reason"),
    [(b"* OK\r\nedge NO not now\r\n", "STARTTLS was answered with"), (b"* OK\r\n", "closed the connection before TLS")],
    ids=["no", "nothing"],
)
def test_a_listener_that_refuses_starttls_is_named_by_what_it_said(says: bytes, reason: str) -> None:
    """No real server refuses on demand, so the test plays one."""
    with listening_socket() as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(says)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProbeFailed, match=reason):
            served_chain(probe(ListenerKind.IMAP, listener.getsockname()[1], with_header=False), TIMEOUT)
        thread.join(TIMEOUT)


def test_an_answer_that_is_not_http_fails_in_words(dovecot: Dovecot) -> None:
    with pytest.raises(ProbeFailed, match="not HTTP"):
        http_status(probe(ListenerKind.HTTP, dovecot.ports.pop3), TIMEOUT)
