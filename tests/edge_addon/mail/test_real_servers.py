"""Standard clients through `certedge run` to real Dovecot and Postfix.

Every upstream offers STARTTLS and expects a PROXY header first, and Dovecot refuses a login unless the header says that
the connection uses TLS: a login alone therefore shows that the header is right.
"""

from __future__ import annotations

import imaplib
import re
import smtplib
import socket
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.edge_addon.mail.clients import CLIENT_ADDRESS, Imap, Pop3, Sieve, Smtp, connect
from tests.peers.dovecot import PASSWORD, USER, Dovecot, running_dovecot
from tests.peers.postfix import Postfix, running_postfix
from tests.running import RunningEdge, running_edge

pytestmark = pytest.mark.peer

MAIN_HOST = "edge.test"
DOMAIN_HOST = "webmail.client.test"
INTERNAL_NAME = "mail.internal.test"

CA = CertificateAuthority()
OTHER_CA = CertificateAuthority("Other CA")
MAIN = CA.issue(MAIN_HOST)
DOMAIN = CA.issue(DOMAIN_HOST)


@dataclass(frozen=True, slots=True)
class Platform:
    edge: RunningEdge
    dovecot: Dovecot
    postfix: Postfix


def _listener(kind: str, upstream_port: int, more: dict[str, str]) -> dict[str, str]:
    return {"kind": kind, "upstream": f"127.0.0.1:{upstream_port}", **more}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One edge before one Dovecot and one Postfix. The first listener of each kind uses no TLS behind the edge."""
    folder = tmp_path_factory.mktemp("edge")
    (folder / "ca.pem").write_bytes(CA.root_pem)
    (folder / "other-ca.pem").write_bytes(OTHER_CA.root_pem)
    internal = CA.issue(INTERNAL_NAME)
    with running_dovecot(internal) as dovecot, running_postfix(internal, dovecot) as postfix:
        imap, pop3, sieve = dovecot.ports.imap, dovecot.ports.pop3, dovecot.ports.sieve
        plain = [
            ("imap", imap, "v2"), ("imaps", imap, "v2"), ("pop3", pop3, "v2"), ("pop3s", pop3, "v2"),
            ("sieve", sieve, "v2"), ("smtp", postfix.ports.smtp, "v1"), ("submission", postfix.ports.submission, "v2"),
            ("submissions", postfix.ports.submission, "v1"),
        ]  # fmt: skip
        # Further listeners of the same kinds, in this order: `position` in the tests below.
        over_tls = [
            ("imap", imap, "starttls"), ("imaps", dovecot.ports.imaps, "tls"), ("pop3", pop3, "starttls"),
            ("sieve", sieve, "starttls"), ("smtp", postfix.ports.smtp, "starttls"),
            ("submission", postfix.ports.submission, "starttls"), ("smtp", postfix.ports.smtp_tls, "tls"),
        ]  # fmt: skip
        tls = {"upstream_ca_file": "ca.pem", "upstream_name": INTERNAL_NAME, "proxy_protocol": "v2"}
        distrusting = {**tls, "upstream_ca_file": "other-ca.pem"}
        listeners = [
            *(_listener(kind, port, {"proxy_protocol": version}) for kind, port, version in plain),
            *(_listener(kind, port, {"upstream_tls": how, **tls}) for kind, port, how in over_tls),
            _listener("imaps", imap, {"upstream_tls": "starttls", **distrusting}),
            _listener("smtp", postfix.ports.smtp, {"upstream_tls": "as_client", **tls}),
            _listener("smtp", postfix.ports.smtp, {"upstream_tls": "as_client", **distrusting}),
            _listener("submission", postfix.ports.submission, {"upstream_tls": "as_client", **tls}),
            _listener("smtp", postfix.ports.postscreen, {"proxy_protocol": "v2"}),
        ]
        settings = {"listeners": listeners, "access_log": {"path": "access.log"}}
        with running_edge(folder, settings, {"main": MAIN, DOMAIN_HOST: DOMAIN}) as edge:
            yield Platform(edge, dovecot, postfix)


def trusting(ca: CertificateAuthority = CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.root_pem.decode("ascii"))


def a_mail(size: int = 0) -> EmailMessage:
    """A mail with a unique subject."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "sender@elsewhere.test", USER, uuid.uuid4().hex
    mail.set_content(
        ".a line that begins with a dot\n" + "x" * 70 + "\n" * (size > 0) + ("y" * 70 + "\n") * (size // 71)
    )
    return mail


def logged_in(platform: Platform) -> Imap:
    client = Imap(platform.edge.port("imaps"), trusting(), MAIN_HOST)
    client.login(USER, PASSWORD)
    client.select()
    return client


def arrived(client: Imap, subject: str) -> bytes:
    """The text of the mail with this subject, once it has arrived."""

    def search() -> str:
        client.noop()
        found: bytes = client.search(None, "SUBJECT", subject)[1][0]
        return found.decode()

    number = wait_for(search, f"mail {subject}")
    answer = client.fetch(number, "(BODY[])")[1][0]
    assert isinstance(answer, tuple)
    text: bytes = answer[1]
    return text


@pytest.mark.parametrize("position", [0, 1], ids=["upstream in the clear", "upstream over TLS"])
def test_imaps_logs_in_under_the_clients_own_address(platform: Platform, position: int) -> None:
    with Imap(platform.edge.port("imaps", position), trusting(), MAIN_HOST) as client:
        assert "STARTTLS" not in client.capabilities
        assert client.login(USER, PASSWORD)[0] == "OK"
        assert client.select()[0] == "OK"
    assert f"rip={CLIENT_ADDRESS}, lip=127.0.0.1" in platform.dovecot.log


def test_imaps_for_a_domains_name_presents_the_main_certificate(platform: Platform) -> None:
    assert platform.edge.fingerprint("imaps", DOMAIN_HOST) == MAIN.fingerprint
    assert platform.edge.fingerprint("submissions", DOMAIN_HOST) == MAIN.fingerprint
    assert platform.edge.fingerprint("pop3s", None) == MAIN.fingerprint
    assert MAIN.fingerprint != DOMAIN.fingerprint


def test_a_client_that_trusts_another_authority_does_not_connect(platform: Platform) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Imap(platform.edge.port("imaps"), trusting(OTHER_CA), MAIN_HOST)
    with pytest.raises(ssl.SSLCertVerificationError), Smtp(platform.edge.port("smtp")) as client:
        client.begin_tls(trusting(OTHER_CA), MAIN_HOST)


@pytest.mark.parametrize("position", [0, 1], ids=["upstream in the clear", "upstream over TLS"])
def test_imap_offers_starttls_before_tls_only_and_login_after_it_only(platform: Platform, position: int) -> None:
    with Imap(platform.edge.port("imap", position)) as client:
        assert {"STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            client.login(USER, PASSWORD)
        client.begin_tls(trusting(), MAIN_HOST)
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.getpeercert(binary_form=True) == MAIN.cert_der
        assert "STARTTLS" not in client.capabilities
        assert "LOGINDISABLED" not in client.capabilities
        with pytest.raises(imaplib.IMAP4.error):
            client._simple_command("STARTTLS")
        assert client.login(USER, PASSWORD)[0] == "OK"
        assert client.select()[0] == "OK"


def test_a_wrong_password_is_refused_and_the_right_one_then_taken(platform: Platform) -> None:
    with Imap(platform.edge.port("imaps"), trusting(), MAIN_HOST) as client:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login(USER, "wrong")
        assert client.login(USER, PASSWORD)[0] == "OK"


@pytest.mark.parametrize("position", [0, 1], ids=["upstream in the clear", "upstream over TLS"])
def test_pop3_logs_in_after_stls(platform: Platform, position: int) -> None:
    client = Pop3(platform.edge.port("pop3", position))
    assert "STLS" in client.capa()
    with pytest.raises(Exception, match="STLS first"):
        client.user(USER)
    client.begin_tls(trusting(), MAIN_HOST)
    assert "STLS" not in client.capa()
    client.user(USER)
    assert client.pass_(PASSWORD).startswith(b"+OK")
    client.stat()
    client.quit()


@pytest.mark.parametrize("position", [0, 1], ids=["upstream in the clear", "upstream over TLS"])
def test_managesieve_stores_a_script_after_starttls(platform: Platform, position: int) -> None:
    with Sieve(platform.edge.port("sieve", position)) as client:
        assert "STARTTLS" in client.capabilities
        assert client.capabilities["SASL"] == ""
        assert client.login(USER, PASSWORD) == "NO"
        client.begin_tls(trusting(), MAIN_HOST)
        assert "STARTTLS" not in client.capabilities
        assert "PLAIN" in client.capabilities["SASL"]
        assert "fileinto" in client.capabilities["SIEVE"]
        assert client.login(USER, PASSWORD) == "OK"
        assert client.put("edge", b"keep;\r\n# STARTTLS\r\n") == "OK"
        assert "edge" in client.ask(b"LISTSCRIPTS\r\n")


@pytest.mark.parametrize(
    "position", [0, 1, 2], ids=["upstream in the clear", "upstream over STARTTLS", "upstream over TLS"]
)
@pytest.mark.parametrize("with_tls", [True, False], ids=["over TLS", "in the clear"])
def test_a_mail_between_servers_is_delivered(platform: Platform, position: int, with_tls: bool) -> None:
    mail = a_mail()
    with Smtp(platform.edge.port("smtp", position)) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert not client.has_extn("auth")
        if with_tls:
            client.begin_tls(trusting(), MAIN_HOST)
            client.ehlo()
            assert not client.has_extn("starttls")
        client.send_message(mail)
    with logged_in(platform) as reader:
        text = arrived(reader, mail["Subject"])
        assert b".a line that begins with a dot\r\n" in text
        assert f"[{CLIENT_ADDRESS}]".encode() in text, "Postfix received it from the client's address"


AS_CLIENT, AS_CLIENT_DISTRUSTING, POSTSCREEN = 3, 4, 5


def received_by_postfix(platform: Platform, mail: EmailMessage) -> str:
    """How Postfix got it from the edge: the last `with` of its own header."""
    with logged_in(platform) as reader:
        text = arrived(reader, mail["Subject"]).decode().replace("\r\n", "\n")
    header = next(each for each in text.split("\nReceived: ") if "(Postfix)" in each)
    return header.split(" with ")[1].split()[0]


@pytest.mark.parametrize(
    ("position", "with_tls", "expected"),
    [(AS_CLIENT, True, "ESMTPS"), (AS_CLIENT, False, "ESMTP"), (0, True, "ESMTP"), (1, False, "ESMTPS")],
    ids=["as_client over TLS", "as_client in the clear", "none says too little", "starttls says too much"],
)
def test_postfix_learns_whether_the_client_used_tls(
    platform: Platform, position: int, with_tls: bool, expected: str
) -> None:
    mail = a_mail()
    with Smtp(platform.edge.port("smtp", position)) as client:
        client.ehlo()
        if with_tls:
            client.begin_tls(trusting(), MAIN_HOST)
            client.ehlo()
        client.send_message(mail)
    assert received_by_postfix(platform, mail) == expected


def test_mail_over_tls_never_falls_back_to_a_server_that_is_not_trusted(platform: Platform) -> None:
    """In the clear nobody asks for the server's certificate; over TLS its name and chain are verified."""
    mail = a_mail()
    with Smtp(platform.edge.port("smtp", AS_CLIENT_DISTRUSTING)) as client:
        client.send_message(mail)
    assert received_by_postfix(platform, mail) == "ESMTP"
    with Smtp(platform.edge.port("smtp", AS_CLIENT_DISTRUSTING)) as client:
        client.ehlo()
        client.begin_tls(trusting(), MAIN_HOST)
        assert client.ehlo()[0] == 421


def test_postscreen_and_what_comes_after_it_see_the_client(platform: Platform) -> None:
    """It judges by address, and hands it to smtpd, which has it for its milters and for the mail's header."""
    mail = a_mail()
    with Smtp(platform.edge.port("smtp", POSTSCREEN)) as client:
        client.ehlo()
        client.begin_tls(trusting(), MAIN_HOST)
        client.ehlo()
        client.send_message(mail)
    with logged_in(platform) as reader:
        assert f"[{CLIENT_ADDRESS}]".encode() in arrived(reader, mail["Subject"])
    log = platform.postfix.log
    assert f"CONNECT from [{CLIENT_ADDRESS}]:" in log
    assert re.search(rf"PASS (NEW|OLD) \[{re.escape(CLIENT_ADDRESS)}\]:", log)


def test_submission_as_client_is_always_over_tls(platform: Platform) -> None:
    mail = a_mail()
    with Smtp(platform.edge.port("submission", 2)) as client:
        client.ehlo()
        client.begin_tls(trusting(), MAIN_HOST)
        client.login(USER, PASSWORD)
        client.send_message(mail)
    assert received_by_postfix(platform, mail) == "ESMTPSA"


def test_smtp_passes_no_authentication_in_the_clear(platform: Platform) -> None:
    with Smtp(platform.edge.port("smtp")) as client:
        client.ehlo()
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 530
        assert client.docmd("XCLIENT", "ADDR=192.0.2.1")[0] == 550


@pytest.mark.parametrize(
    ("kind", "position"),
    [("submission", 0), ("submission", 1), ("submissions", 0)],
    ids=["STARTTLS", "STARTTLS on both legs", "implicit TLS"],
)
def test_a_mail_is_submitted_with_a_login(platform: Platform, kind: str, position: int) -> None:
    mail = a_mail(size=3_000_000 if kind == "submissions" else 0)
    context = trusting()
    is_implicit = kind == "submissions"
    with Smtp(platform.edge.port(kind, position), context if is_implicit else None, MAIN_HOST) as client:
        client.ehlo()
        if not is_implicit:
            assert not client.has_extn("auth")
            assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 530
            assert client.docmd("MAIL", "FROM:<a@b.test>")[0] == 530
            client.begin_tls(context, MAIN_HOST)
            client.ehlo()
        assert not client.has_extn("starttls")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
        client.login(USER, PASSWORD)
        client.send_message(mail)
    with logged_in(platform) as reader:
        text = arrived(reader, mail["Subject"])
        assert len(text) > len(mail.as_bytes()) - 100
    assert f"connect from unknown[{CLIENT_ADDRESS}]" in platform.postfix.log


def test_without_a_login_nothing_is_submitted(platform: Platform) -> None:
    with (
        Smtp(platform.edge.port("submissions"), trusting(), MAIN_HOST) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        client.send_message(a_mail())


def test_a_mail_pushed_in_idle_arrives_through_the_tunnel(platform: Platform) -> None:
    with logged_in(platform) as reader:
        reader.send(b"i1 IDLE\r\n")
        assert reader.readline().startswith(b"+ ")
        with Smtp(platform.edge.port("smtp")) as client:
            client.send_message(a_mail())
        while not (line := reader.readline()).endswith(b" EXISTS\r\n"):
            assert line, "the connection ended"
        reader.send(b"DONE\r\n")
        while not reader.readline().startswith(b"i1 OK"):
            pass


def talk(port: int, said: bytes, until: bytes) -> tuple[socket.socket, bytes]:
    """Send `said` in the clear and read until `until` appears."""
    plain = connect(port)
    heard = plain.recv(4096)
    plain.sendall(said)
    while until not in heard:
        piece = plain.recv(4096)
        assert piece, f"the connection ended: {heard!r}"
        heard += piece
    return plain, heard


def test_a_mail_injected_after_starttls_is_never_sent(platform: Platform) -> None:
    """CVE-2011-0411: what an attacker adds after STARTTLS in the clear must not run as the client's commands."""
    marker = uuid.uuid4().hex
    injected = f"MAIL FROM:<{marker}@evil.test>\r\nRCPT TO:<{USER}>\r\nDATA\r\nforged\r\n.\r\n".encode()
    plain, _ = talk(platform.edge.port("smtp"), b"EHLO x\r\nSTARTTLS\r\n" + injected, b"220 2.0.0")
    with trusting().wrap_socket(plain, server_hostname=MAIN_HOST) as secure:
        secure.sendall(b"EHLO y\r\nQUIT\r\n")
        heard = b""
        while piece := secure.recv(4096):
            heard += piece
    assert heard.count(b"250 ") == 1
    assert heard.splitlines()[-1].startswith(b"221")
    control = a_mail()
    with Smtp(platform.edge.port("smtp")) as client:
        client.send_message(control, from_addr=f"{marker}@honest.test")
    wait_for(lambda: f"from=<{marker}@honest.test>" in platform.postfix.log, "the honest mail in Postfix's log")
    assert f"{marker}@evil.test" not in platform.postfix.log


def test_a_login_injected_after_starttls_is_never_made(platform: Platform) -> None:
    """CVE-2021-33515."""
    user = f"{uuid.uuid4().hex}@peer.test"
    injected = f'a STARTTLS\r\nb LOGIN {user} "{PASSWORD}"\r\n'.encode()
    plain, _ = talk(platform.edge.port("imap"), injected, b"a OK")
    with trusting().wrap_socket(plain, server_hostname=MAIN_HOST) as secure:
        secure.sendall(b"c NOOP\r\n")
        heard = secure.recv(4096)
        assert heard.startswith(b"c OK"), heard
        secure.sendall(b"d SELECT INBOX\r\n")
        assert secure.recv(4096).startswith(b"d BAD"), "nobody is logged in"
    assert user not in platform.dovecot.log


@pytest.mark.parametrize(
    "before", [b"a NOOP x{%d+}\r\n", b'a NOOP "x{%d+}\r\n', b"a LOGIN x{%d+}\r\n", b"a ID x{%d+}\r\n"]
)
def test_a_login_hidden_in_what_is_no_literal_is_never_made(platform: Platform, before: bytes) -> None:
    """Dovecot finds a bad atom in the first line and goes on to read the next."""
    user = f"{uuid.uuid4().hex}@peer.test"
    hidden = f'b LOGIN {user} "{PASSWORD}"\r\n'.encode()
    with Imap(platform.edge.port("imaps"), trusting(), MAIN_HOST) as client:
        client.send(before % len(hidden) + hidden + b"\r\nc NOOP\r\n")
        while not (line := client.readline()).startswith(b"c "):
            assert line, "the connection ended"
            assert not line.startswith(b"b ")
    assert user not in platform.dovecot.log


@pytest.mark.parametrize("waits", [True, False])
def test_a_login_in_literals_is_made(platform: Platform, waits: bool) -> None:
    plus = "" if waits else "+"
    pieces = [f"a LOGIN {{{len(USER)}{plus}}}", f"{USER} {{{len(PASSWORD)}{plus}}}", PASSWORD]
    with Imap(platform.edge.port("imaps"), trusting(), MAIN_HOST) as client:
        for piece in pieces:
            client.send(f"{piece}\r\n".encode())
            if waits and piece is not pieces[-1]:
                assert client.readline().startswith(b"+ ")
        client.send(b"b SELECT INBOX\r\n")
        for answer in (b"a ", b"b "):
            while not (line := client.readline()).startswith(answer):
                assert line, "the connection ended"
            assert line.startswith(answer + b"OK")


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n"])
def test_a_mail_smuggled_into_another_never_arrives(platform: Platform, end: bytes) -> None:
    marker = uuid.uuid4().hex
    cut_off = "lost connection after DATA"
    before = platform.postfix.log.count(cut_off)
    plain, _ = talk(
        platform.edge.port("smtp"),
        f"EHLO x\r\nMAIL FROM:<{marker}@outer.test>\r\nRCPT TO:<{USER}>\r\nDATA\r\n".encode(),
        b"354",
    )
    inner = f"MAIL FROM:<{marker}@inner.test>\r\nRCPT TO:<{USER}>\r\nDATA\r\nforged\r\n.\r\n".encode()
    with plain:
        plain.sendall(b"Subject: outer\r\n\r\nhello" + end + inner)
        assert plain.recv(4096).startswith(b"521 5.5.2")
        assert plain.recv(4096) == b""
    wait_for(lambda: platform.postfix.log.count(cut_off) > before, "Postfix to see the mail cut off")
    assert f"{marker}@inner.test" not in platform.postfix.log
    assert f"from=<{marker}@outer.test>" not in platform.postfix.log, "nor half of the outer mail"


def test_an_upstream_whose_authority_is_not_trusted_gets_no_password(platform: Platform) -> None:
    before = platform.dovecot.log.count("Login: user=")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        Imap(platform.edge.port("imaps", 2), trusting(), MAIN_HOST)
    assert platform.dovecot.log.count("Login: user=") == before


def test_the_access_log_has_one_line_per_session(platform: Platform) -> None:
    log = platform.edge.folder / "access.log"
    before = log.read_text().count("\n")
    with Imap(platform.edge.port("imaps"), trusting(), MAIN_HOST) as client:
        client.login(USER, PASSWORD)
    wait_for(lambda: log.read_text().count("\n") > before, "a line in the access log")
    assert PASSWORD not in log.read_text()
    assert PASSWORD not in platform.edge.stderr
