"""Mail clients of the field read and write mails of 50 MB through `certedge run`, to real Dovecot and Postfix."""

from __future__ import annotations

import base64
import imaplib
import os
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.dovecot import PASSWORD, USER, running_dovecot
from tests.peers.mail_clients import (
    SENDER,
    SENDERS,
    Account,
    fetchmail,
    getmail,
    mails_in,
    mbsync,
    offlineimap,
    sieve_connect,
)
from tests.peers.postfix import running_postfix
from tests.running import MAIN_HOST, RunningEdge, running_edge

pytestmark = pytest.mark.peer

SIZE = 50 * 1000 * 1000
SCRIPT_SIZE = 900_000
"""Dovecot takes scripts up to 1 MB (`sieve_max_script_size`)."""
CA = CertificateAuthority()
INTERNAL = CA.issue("mail.internal.test")
SOURCE = "Source"
"""The mailbox with one large mail."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One with a subject of its own. `body` has LF at the end of each line."""

    subject: str
    body: bytes

    @property
    def text(self) -> bytes:
        head = f"From: {SENDER}\nTo: {USER}\nSubject: {self.subject}\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
        return head.encode() + self.body

    def is_in(self, text: bytes) -> bool:
        return self.body in text.replace(b"\r\n", b"\n")


def a_mail(body: bytes) -> Mail:
    return Mail(uuid.uuid4().hex, body)


@pytest.fixture(scope="module")
def body() -> bytes:
    return base64.encodebytes(os.urandom(SIZE * 57 // 77))


@dataclass(frozen=True, slots=True)
class Platform:
    edge: RunningEdge
    ca_file: Path
    source: Mail

    def account(self, folder: Path) -> Account:
        ports = {kind: self.edge.port(kind) for kind in ("imaps", "pop3s", "submission", "submissions", "sieve")}
        return Account(self.ca_file, folder=folder, **ports)

    def imap(self) -> imaplib.IMAP4_SSL:
        return _imap(self.edge)


def _imap(edge: RunningEdge) -> imaplib.IMAP4_SSL:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    client = imaplib.IMAP4_SSL("localhost", edge.port("imaps"), ssl_context=context)
    client.login(USER, PASSWORD)
    return client


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> Iterator[Platform]:
    for name in ("dovecot", "postfix"):
        require_peer(name)
    folder = tmp_path_factory.mktemp("edge")
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(CA.root_pem)
    unlimited = "message_size_limit = 0\nmailbox_size_limit = 0"
    with running_dovecot(INTERNAL) as dovecot, running_postfix(INTERNAL, dovecot, delivery=unlimited) as postfix:
        upstreams = {
            "imaps": dovecot.ports.imap, "pop3s": dovecot.ports.pop3, "sieve": dovecot.ports.sieve,
            "submission": postfix.ports.submission, "submissions": postfix.ports.submission,
        }  # fmt: skip
        listeners = [
            {"kind": kind, "upstream": f"127.0.0.1:{port}", "proxy_protocol": "v2"} for kind, port in upstreams.items()
        ]
        certificate = CA.issue(MAIN_HOST, "localhost")
        with running_edge(folder, {"listeners": listeners}, {"main": certificate}) as edge:
            source = a_mail(body)
            with _imap(edge) as client:
                client.create(SOURCE)
                client.append(SOURCE, "", "", source.text.replace(b"\n", b"\r\n"))
            yield Platform(edge, ca_file, source)


def found(client: imaplib.IMAP4_SSL, mailbox: str, mail: Mail) -> bytes:
    """The text of the mail once it is in the mailbox; it is removed from there."""

    def search() -> str:
        client.select(mailbox)
        numbers: bytes = client.search(None, "SUBJECT", mail.subject)[1][0] or b""
        return numbers.decode()

    number = wait_for(search, f"mail {mail.subject} in {mailbox}", pause=0.2)
    answer = client.fetch(number, "(BODY.PEEK[])")[1][0]
    assert isinstance(answer, tuple)
    client.store(number, "+FLAGS", "\\Deleted")
    client.expunge()
    text: bytes = answer[1]
    return text


@pytest.mark.parametrize("client", ["mbsync", "offlineimap"])
def test_a_client_that_synchronises_reads_and_writes(
    platform: Platform, client: str, body: bytes, tmp_path: Path
) -> None:
    account, mailbox = platform.account(tmp_path), f"By-{client}"
    written = a_mail(body)
    (account.maildir(mailbox) / "new" / "1.written.localhost").write_bytes(written.text)
    {"mbsync": mbsync, "offlineimap": offlineimap}[client](account, SOURCE, mailbox)

    (read,) = mails_in(account.maildir(SOURCE))
    assert platform.source.is_in(read.read_bytes())
    with platform.imap() as imap:
        assert written.is_in(found(imap, mailbox, written))


def test_getmail_reads(platform: Platform, tmp_path: Path) -> None:
    read = getmail(platform.account(tmp_path), SOURCE)
    assert platform.source.is_in(read.read_bytes())


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_fetchmail_reads(platform: Platform, protocol: str, body: bytes, tmp_path: Path) -> None:
    inbox = a_mail(body)
    with platform.imap() as client:
        if protocol == "POP3":
            client.append("INBOX", "", "", inbox.text.replace(b"\n", b"\r\n"))
        read = fetchmail(platform.account(tmp_path), protocol, SOURCE)
        assert (inbox if protocol == "POP3" else platform.source).is_in(read.read_bytes())
        if protocol == "POP3":
            found(client, "INBOX", inbox)


@pytest.mark.parametrize("starttls", [True, False], ids=["STARTTLS", "TLS"])
@pytest.mark.parametrize("sender", SENDERS)
def test_a_client_sends(platform: Platform, sender: str, starttls: bool, body: bytes, tmp_path: Path) -> None:
    mail = a_mail(body)
    file = tmp_path / "mail"
    file.write_bytes(mail.text)

    SENDERS[sender](platform.account(tmp_path), file, starttls)

    with platform.imap() as client:
        assert mail.is_in(found(client, "INBOX", mail))


def test_sieve_connect_writes_and_reads_a_script(platform: Platform, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("keep;\n" + "# a line of a script that is long\n" * (SCRIPT_SIZE // 34))
    back = sieve_connect(platform.account(tmp_path), script)
    assert back.read_text().split() == script.read_text().split()
