"""Mail clients of the field, each set up for one account on one server, over TLS that it verifies.

    account = Account(ca_file, imaps=port, …, folder=tmp_path)
    mbsync(account, …); fetchmail(account, "IMAP", target); msmtp(account, mail, starttls=True); …

Each skips the test if the client is missing. `folder` is for their files; passwords are in these, not in arguments.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require_peer
from tests.peers.dovecot import PASSWORD, USER
from tests.peers.web_clients import run

SENDER = "sender@peer.test"


@dataclass(frozen=True, slots=True)
class Account:
    """`USER` of the tests' Dovecot at these ports of localhost."""

    ca_file: Path
    imaps: int
    pop3s: int
    submission: int
    submissions: int
    sieve: int
    folder: Path

    def write(self, name: str, text: str) -> Path:
        """A configuration file that only its owner can read, as most clients demand."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def maildir(self, name: str) -> Path:
        """A folder of mails of this client; empty if it is new."""
        path = self.folder / "mail" / name
        for each in ("cur", "new", "tmp"):
            (path / each).mkdir(parents=True, exist_ok=True)
        return path

    @property
    def home(self) -> Mapping[str, str]:
        return {"HOME": str(self.folder)}


def mails_in(maildir: Path) -> list[Path]:
    return [*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()]


# Both ways: what is in the local folders goes to the server, what is on the server comes here.

_MBSYNC = """
IMAPAccount server
Host localhost
Port {imaps}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {ca_file}

IMAPStore far
Account server

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX

Channel all
Far :far:
Near :near:
Patterns {mailboxes}
Create Both
Sync All
SyncState *
"""


def mbsync(account: Account, *mailboxes: str) -> None:
    text = _MBSYNC.format(**_values(account), mailboxes=" ".join(mailboxes))
    run(require_peer("mbsync"), "-c", account.write("mbsyncrc", text), "-a", environment=account.home)


_OFFLINEIMAP = """
[general]
accounts = all
metadata = {folder}/metadata

[Account all]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {folder}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {imaps}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {ca_file}
folderfilter = lambda name: name in {mailboxes!r}
"""


def offlineimap(account: Account, *mailboxes: str) -> None:
    config = account.write("offlineimaprc", _OFFLINEIMAP.format(**_values(account), mailboxes=mailboxes))
    run(require_peer("offlineimap"), "-o", "-u", "basic", "-c", config, environment=account.home)


# Reading.

_GETMAIL = """
[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {imaps}
username = {user}
password = {password}
mailboxes = ("{mailbox}",)
ca_certs = {ca_file}

[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > {target}")
allow_root_commands = true

[options]
delete = false
delivered_to = false
received = false
"""


def getmail(account: Account, mailbox: str) -> Path:
    """Returns the file with the mail."""
    target = account.folder / "retrieved"
    config = account.write("getmailrc", _GETMAIL.format(**_values(account), mailbox=mailbox, target=target))
    run(require_peer("getmail"), "-g", account.folder, "-r", config.name, environment=account.home)
    return target


_FETCHMAIL = """
poll localhost protocol {protocol} port {port}
    username "{user}" password "{password}"
    ssl sslcertck sslcertfile "{ca_file}"
    keep fetchall no rewrite {mailbox}
    mda "cat >> {target}"
"""


def fetchmail(account: Account, protocol: str, mailbox: str) -> Path:
    """Returns the file with all mails; over POP3 they are those of the inbox."""
    target = account.folder / "fetched"
    values = {**_values(account), "port": account.imaps, "mailbox": f'folder "{mailbox}"'}
    if protocol == "POP3":
        values |= {"port": account.pop3s, "mailbox": ""}
    config = account.write("fetchmailrc", _FETCHMAIL.format(**values, protocol=protocol, target=target))
    pid_file = account.folder / "fetchmail.pid"
    run(require_peer("fetchmail"), "-N", "-f", config, "--pidfile", pid_file, environment=account.home)
    return target


# Sending.

_MSMTP = """
account default
host localhost
port {port}
from {sender}
auth plain
user {user}
password {password}
tls on
tls_starttls {starttls}
tls_trust_file {ca_file}
"""


def msmtp(account: Account, mail: Path, *, starttls: bool) -> None:
    text = _MSMTP.format(
        **_values(account),
        port=account.submission if starttls else account.submissions,
        sender=SENDER,
        starttls="on" if starttls else "off",
    )
    _fed(mail, require_peer("msmtp"), "-C", account.write("msmtprc", text), USER)


def swaks(account: Account, mail: Path, *, starttls: bool) -> None:
    port = account.submission if starttls else account.submissions
    run(
        require_peer("swaks"), "--server", "localhost", "--port", str(port), "--tls" if starttls else "--tlsc",
        "--tls-verify", "--tls-ca-path", account.ca_file, "--auth", "PLAIN", "--auth-user", USER, "--from", SENDER,
        "--to", USER, "--data", f"@{mail}", "--hide-all", environment={"SWAKS_OPT_auth_password": PASSWORD},
    )  # fmt: skip


# Scripts.


def sieve_connect(account: Account, script: Path) -> Path:
    """Upload a script and download it again; returns the file with what came back."""
    target = account.folder / "script.back"
    password = account.write("password", PASSWORD + "\n")
    connect: list[str | Path] = [
        require_peer("sieve-connect"),
        "--server",
        "localhost",
        "--port",
        str(account.sieve),
        "--user",
        USER,
    ]
    connect += ["--passwordfd", "0", "--tlscafile", account.ca_file]
    _fed(password, *connect, "--upload", "--localsieve", script, "--remotesieve", "test")
    _fed(password, *connect, "--download", "--localsieve", target, "--remotesieve", "test")
    return target


def _values(account: Account) -> dict[str, object]:
    return {
        "user": USER,
        "password": PASSWORD,
        "ca_file": account.ca_file,
        "folder": account.folder,
        "imaps": account.imaps,
    }


def _fed(file: Path, *command: str | Path) -> None:
    """Run a client with a file as its input."""
    with file.open("rb") as content:
        done = subprocess.run(
            [str(each) for each in command], stdin=content, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"


SENDERS: Mapping[str, Callable[[Account, Path, bool], None]] = {
    "msmtp": lambda account, mail, starttls: msmtp(account, mail, starttls=starttls),
    "swaks": lambda account, mail, starttls: swaks(account, mail, starttls=starttls),
}
