"""LMTP through `certedge run` to a real Dovecot, from the standard library's client and from a real Postfix."""

from __future__ import annotations

import smtplib
import socket
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.mail.clients import CLIENT_ADDRESS, Lmtp, connect
from tests.peers.dovecot import USER, Dovecot, running_dovecot
from tests.peers.postfix import running_postfix
from tests.running import RunningEdge, running_edge

pytestmark = pytest.mark.peer

MAIN_HOST = "edge.test"
DOMAIN_HOST = "webmail.client.test"
INTERNAL_NAME = "mail.internal.test"

CA = CertificateAuthority()
MAIN = CA.issue(MAIN_HOST)
DOMAIN = CA.issue(DOMAIN_HOST)


@dataclass(frozen=True, slots=True)
class Platform:
    edge: RunningEdge
    dovecot: Dovecot
    folder: Path

    def stored(self, subject: str) -> list[bytes]:
        """The texts of the mails with this subject that Dovecot has delivered."""
        mails = self.dovecot.folder.glob("home/*/Maildir/new/*")
        return [text for text in (mail.read_bytes() for mail in mails) if f"Subject: {subject}".encode() in text]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """An edge with two listeners before one Dovecot. The second uses TLS towards Dovecot too."""
    folder = tmp_path_factory.mktemp("edge")
    (folder / "ca.pem").write_bytes(CA.root_pem)
    with running_dovecot(CA.issue(INTERNAL_NAME)) as dovecot:
        listener = {"kind": "lmtp", "upstream": f"127.0.0.1:{dovecot.ports.lmtp_proxied}", "proxy_protocol": "v2"}
        tls = {"upstream_tls": "starttls", "upstream_ca_file": "ca.pem", "upstream_name": INTERNAL_NAME}
        settings = {"listeners": [listener, {**listener, **tls}], "access_log": {"path": "access.log"}}
        with running_edge(folder, settings, {"main": MAIN, DOMAIN_HOST: DOMAIN}) as edge:
            yield Platform(edge, dovecot, folder)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.root_pem.decode("ascii"))


def a_mail() -> tuple[str, bytes]:
    """A subject that no other mail has, and the mail's text."""
    subject = uuid.uuid4().hex
    return subject, f"Subject: {subject}\r\n\r\n.a line that begins with a dot\r\n".encode()


@pytest.mark.parametrize("position", [0, 1], ids=["upstream in the clear", "upstream over TLS"])
@pytest.mark.parametrize("with_tls", [True, False], ids=["over TLS", "in the clear"])
def test_a_mail_is_delivered_with_a_reply_for_each_recipient(platform: Platform, position: int, with_tls: bool) -> None:
    subject, text = a_mail()
    with Lmtp(platform.edge.port("lmtp", position)) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        if with_tls:
            client.begin_tls(trusting(), MAIN_HOST)
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.getpeercert(binary_form=True) == MAIN.cert_der
            client.ehlo()
            assert not client.has_extn("starttls")
        assert client.deliver(text, USER, "@@", USER) == [250, 250]
        assert client.noop()[0] == 250, "no reply is left over"
    stored = platform.stored(subject)
    assert stored
    assert b"\n.a line that begins with a dot" in stored[0]
    assert f"Connect from {CLIENT_ADDRESS}" in platform.dovecot.log


def test_a_mail_in_chunks_is_delivered(platform: Platform) -> None:
    subject, text = a_mail()
    with Lmtp(platform.edge.port("lmtp")) as client:
        client.ehlo()
        assert client.has_extn("chunking")
        client.send(f"MAIL FROM:<a@b.test>\r\nRCPT TO:<{USER}>\r\nRCPT TO:<{USER}>\r\n".encode())
        client.send(b"BDAT 9\r\n" + text[:9] + b"BDAT %d LAST\r\n" % len(text[9:]) + text[9:] + b"NOOP\r\n")
        assert [client.getreply()[0] for _ in range(7)] == [250] * 7
    assert platform.stored(subject)


def test_data_for_nobody_is_refused_and_the_session_goes_on(platform: Platform) -> None:
    with Lmtp(platform.edge.port("lmtp")) as client:
        client.ehlo()
        client.mail("a@b.test")
        assert client.docmd("DATA")[0] == 503
        client.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        assert client.rset()[0] == 250, "the chunk got no reply and was not read as a command"
        assert client.deliver(a_mail()[1], USER) == [250]


@pytest.mark.parametrize("command", ["HELO client.test", "EHLO client.test", "AUTH PLAIN AGEAYg=="])
def test_commands_of_smtp_alone_are_refused(platform: Platform, command: str) -> None:
    with Lmtp(platform.edge.port("lmtp")) as client:
        assert client.docmd(command)[0] == 500


def test_a_mail_injected_after_starttls_is_never_delivered(platform: Platform) -> None:
    subject, text = a_mail()
    injected = f"MAIL FROM:<a@evil.test>\r\nRCPT TO:<{USER}>\r\nDATA\r\n".encode() + text + b".\r\n"
    with connect(platform.edge.port("lmtp")) as plain:
        plain.sendall(b"LHLO x\r\nSTARTTLS\r\n" + injected)
        heard = b""
        while b"220 2.0.0" not in heard:
            heard += plain.recv(4096)
        with trusting().wrap_socket(plain, server_hostname=MAIN_HOST) as secure:
            secure.sendall(b"LHLO y\r\nQUIT\r\n")
            heard = b"".join(iter(lambda: secure.recv(4096), b""))
    assert heard.count(b"250 ") == 1
    assert heard.splitlines()[-1].startswith(b"221")
    assert not platform.stored(subject)


def test_the_main_certificate_is_presented_whatever_the_name(platform: Platform) -> None:
    with Lmtp(platform.edge.port("lmtp")) as client:
        client.ehlo()
        context = trusting()
        context.check_hostname = False
        client.begin_tls(context, DOMAIN_HOST)
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.getpeercert(binary_form=True) == MAIN.cert_der


class ProxiedSmtp(smtplib.SMTP):
    """Sends the PROXY header that this Postfix expects first."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = connect(port)
        plain.sendall(b"PROXY TCP4 192.0.2.9 127.0.0.1 40000 25\r\n")
        return plain


def test_postfix_delivers_through_the_edge_over_verified_tls(platform: Platform) -> None:
    subject, text = a_mail()
    delivery = (
        "lmtp_tls_security_level = secure\n"
        f"lmtp_tls_secure_cert_match = {MAIN_HOST}\n"
        f"lmtp_tls_CAfile = {platform.folder / 'ca.pem'}\n"
        "lmtp_tls_loglevel = 1\n"
        "lmtp_destination_recipient_limit = 5"
    )
    port = platform.edge.port("lmtp")
    with (
        running_postfix(CA.issue(INTERNAL_NAME), platform.dovecot, lmtp_port=port, delivery=delivery) as postfix,
        ProxiedSmtp("127.0.0.1", postfix.ports.smtp, local_hostname="client.test") as client,
    ):
        client.sendmail("a@elsewhere.test", [USER, "bert@peer.test"], text)

        def is_sent() -> bool:
            return postfix.log.count("status=sent (250 ") == 2

        wait_for(is_sent, "the mail to be delivered for both recipients")
        assert "Verified TLS connection established to 127.0.0.1" in postfix.log
        assert platform.stored(subject)
