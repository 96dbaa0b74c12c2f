"""The mail page, followed to the letter on Debian's own settings, with either Dovecot.

Both daemons start, clients of the edge log in, and the check at the end of the page stops what would not start.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.booted_systemd import Machine, booted_systemd
from tests.peers.debian_tree import debian_tree

MAIL_SERVER = Path(__file__).parents[2] / "deploy" / "mail-server"
CERTEDGE = Path(sys.executable).with_name("certedge")
FENCED = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOVECOT_CONF = "etc/dovecot/conf.d/99-edge.conf"
MASTER_CF = "etc/postfix/master.cf"
TREE = (
    "systemd-sysv", "dbus", "libpam-systemd", "dovecot-imapd", "dovecot-pop3d", "dovecot-managesieved", "dovecot-lmtpd",
    "postfix",
)  # fmt: skip
BEHIND_THE_EDGE = {f"127.0.0.1:{port}" for port in (1143, 1110, 5190, 1024, 1025, 1587)}
LOGIN = "anna", "correct-horse-battery"
CLIENT_ADDRESS = "192.0.2.7"
CLIENTS = """
import imaplib, poplib, smtplib, ssl, sys
host, user, password = sys.argv[1:]
trusting = ssl._create_unverified_context()
clear = imaplib.IMAP4(host, 143)
print("before TLS:", *clear.capabilities)
clear.starttls(trusting)
for imap in clear, imaplib.IMAP4_SSL(host, 993, ssl_context=trusting):
    print("IMAP", imap.login(user, password)[0])
    imap.logout()
pop = poplib.POP3_SSL(host, 995, context=trusting)
pop.user(user)
print("POP", pop.pass_(password)[:3].decode())
pop.quit()
with smtplib.SMTP(host, 25) as smtp:
    smtp.starttls(context=trusting)
    print("SMTP", smtp.ehlo()[0])
"""


@dataclass(frozen=True, slots=True)
class MailHost:
    machine: Machine
    version: str
    """Dovecot's, as the page names it."""

    def listening(self) -> set[str]:
        """Addresses that the network can reach, with the port."""
        lines = self.machine.run_here("ss", "-Hltn").splitlines()
        return {line.split()[3] for line in lines}


def after(words: str) -> str:
    """The first block of the page behind these words."""
    page = (MAIL_SERVER / "README.md").read_text()
    found = FENCED.search(page, page.index(words))
    assert found is not None, words
    return found[1]


def follow(host: MailHost) -> None:
    machine = host.machine
    lmtp = after("add a listener to Dovecot")
    if host.version == "2.3":
        lmtp = re.sub(r"# Dovecot 2.3: (.*)\n.*\n", r"\1\n", lmtp)
    machine.put(DOVECOT_CONF, after(f"Dovecot {host.version} (") + lmtp)
    kept = re.sub(
        r"^(smtp|submission|submissions|smtps)\s+inet\s.*\n([ \t].*\n)*", "", master(machine), flags=re.MULTILINE
    )
    machine.put(MASTER_CF, kept + after("Postfix, in `/etc/postfix/master.cf`"))


def master(machine: Machine) -> str:
    return (machine.root / "usr/share/postfix/master.cf.dist").read_text()


@pytest.fixture(scope="module", params=["2.3", "2.4"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailHost]:
    tree = Path("/")
    if request.param == "2.4":
        tree = debian_tree("trixie", TREE)
    else:
        for name in ("dovecot", "postfix"):
            require_peer(name)
    with booted_systemd(tmp_path_factory.mktemp("machine"), tree) as machine:
        machine.run_here("ip", "address", "add", f"{CLIENT_ADDRESS}/32", "dev", "lo")
        machine.run("useradd", "--create-home", LOGIN[0])
        machine.run("sh", "-c", f"echo {LOGIN[0]}:{LOGIN[1]} | chpasswd")
        own = CertificateAuthority().issue("mail.install.test")  # images of Debian come without the one it makes
        machine.put("etc/dovecot/private/dovecot.pem", own.fullchain_pem.decode())
        machine.put("etc/dovecot/private/dovecot.key", own.privkey_pem.decode())
        machine.put("etc/postfix/main.cf", "compatibility_level = 3.6\nmyhostname = mail.install.test\n")
        assert machine.run("dovecot", "--version").startswith(f"{request.param}.")
        yield MailHost(machine, request.param)


@contextlib.contextmanager
def edge_in(machine: Machine, folder: Path) -> Iterator[Path]:
    """The edge with the settings of the page, in the machine's network; gives its edge.yaml."""
    config, store = folder / "edge.yaml", folder / "store"
    text = (MAIL_SERVER / "edge.yaml").read_text().replace("/var/lib/certedge/store", str(store))
    config.write_text(text.replace("/var/log/certedge", str(folder)))
    (store / "main").mkdir(parents=True)
    (store / "main" / "site.yaml").write_text("host: mail.install.test\n")
    inside = ["nsenter", "--target", str(machine.pid), "--net"]
    log = folder / "edge.log"
    with log.open("wb") as out:
        started = subprocess.Popen([*inside, str(CERTEDGE), "run", "--config", str(config)], stderr=out)
    try:
        wait_for(lambda: "serving" in log.read_text() or started.poll() is not None, "the edge to serve")
        assert started.poll() is None, log.read_text()
        yield config
    finally:
        started.terminate()
        started.wait(90)


@pytest.mark.timeout(900)
def test_both_daemons_start_and_clients_log_in_through_the_edge(host: MailHost, tmp_path: Path) -> None:
    machine = host.machine
    follow(host)
    check_and_restart = after("## Check, then restart").splitlines()[0]
    machine.run("sh", "-c", check_and_restart)
    wait_for(lambda: host.listening() >= BEHIND_THE_EDGE, "all ports behind the edge")
    assert {each for each in host.listening() if not each.startswith(("127.0.0.1:", "[::1]:"))} == set()
    with edge_in(machine, tmp_path) as config:
        said = machine.run_here(sys.executable, "-c", CLIENTS, CLIENT_ADDRESS, *LOGIN)
        machine.run_here(str(CERTEDGE), "verify", "--config", str(config))
    assert said.splitlines()[1:] == ["IMAP OK", "IMAP OK", "POP +OK", "SMTP 250"]
    assert "LOGINDISABLED" in said.splitlines()[0]
    # One journal for both daemons; Dovecot names the client's address.
    assert f"rip={CLIENT_ADDRESS}" in machine.journal("dovecot")


@pytest.mark.timeout(900)
def test_check_stops_the_block_of_the_other_version(host: MailHost) -> None:
    """Without the check, the restart would take a running mail server down."""
    machine = host.machine
    machine.put(DOVECOT_CONF, "")
    machine.run("systemctl", "restart", "dovecot")
    before = machine.run("systemctl", "show", "--property=MainPID", "dovecot")
    other = {"2.3": "2.4", "2.4": "2.3"}[host.version]
    machine.put(DOVECOT_CONF, after(f"Dovecot {other} ("))
    check_and_restart = after("## Check, then restart").splitlines()[0]
    assert machine.run("sh", "-c", f"{check_and_restart} || echo refused").endswith("refused\n")
    assert machine.run("systemctl", "show", "--property=MainPID", "dovecot") == before
    machine.run("sh", "-c", "! systemctl restart dovecot")
