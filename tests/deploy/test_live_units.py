"""Under a booted systemd, daemons that use the main certificate themselves show a new one as soon as it is live."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.snapshot import MAIN
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import MAIN_HOST, acquire
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.booted_systemd import Machine, booted_systemd

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
STORE = "var/lib/certedge/store"
IMAPS, SMTP = 993, 25
DOVECOT = """
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = </var/lib/certedge/store/live/main/fullchain.pem
ssl_key = </var/lib/certedge/store/live/main/privkey.pem
mail_location = maildir:~/Maildir
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/tmp
}
"""
POSTFIX = """
compatibility_level = 3.6
myhostname = mail.install.test
inet_interfaces = 127.0.0.1
smtpd_tls_security_level = may
smtpd_tls_chain_files = /var/lib/certedge/store/live/main/combined.pem
"""
WITNESS = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecReload=/bin/echo reloaded\n"


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    for name in ("dovecot", "postfix", "openssl"):
        require_peer(name)
    with booted_systemd(tmp_path_factory.mktemp("machine")) as machine:
        for unit in UNITS.glob("*@.*"):
            machine.put(f"etc/systemd/system/{unit.name}", unit.read_text())
        machine.put("etc/systemd/system/witness.service", WITNESS)
        machine.put("etc/dovecot/dovecot.conf", DOVECOT)
        machine.put("etc/postfix/main.cf", POSTFIX)
        machine.run("systemctl", "daemon-reload")
        yield machine


@pytest.fixture
def writer(machine: Machine) -> Iterator[StoreWriter]:
    with acquire(machine.root / STORE) as writer:
        yield writer


@contextlib.contextmanager
def watching(machine: Machine, *names: str) -> Iterator[None]:
    """As deploy/systemd says, with the daemons running."""
    paths = [f"certedge-live@{name}.path" for name in names]
    machine.run("systemctl", "start", *names)
    machine.run("systemctl", "start", *paths)
    try:
        yield
    finally:
        machine.run("systemctl", "stop", *paths, *names)


def install(writer: StoreWriter, issued: Issued) -> None:
    writer.install_files(MAIN, [DroppedFile("main.pem", issued.combined_pem)], source="test", force=True)


def is_shown(machine: Machine, issued: Issued, port: int, *options: str) -> bool:
    asked = f"openssl s_client -connect 127.0.0.1:{port} {' '.join(options)} </dev/null"
    answer = machine.run("sh", "-c", f"{asked} 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>&1 || true")
    return answer.strip().rpartition("=")[2].replace(":", "").lower() == issued.fingerprint


def reloads(machine: Machine) -> int:
    return machine.journal("witness.service").split().count("reloaded")


def test_every_activation_reloads_the_daemon(machine: Machine, writer: StoreWriter, ca: CertificateAuthority) -> None:
    changes: list[Callable[[], object]] = [
        lambda: install(writer, ca.issue(MAIN_HOST)),
        lambda: install(writer, ca.issue(MAIN_HOST)),
        lambda: writer.rollback(MAIN),
    ]
    with watching(machine, "witness"):
        for number, change in enumerate(changes, start=1):
            change()
            wait_for(lambda: reloads(machine) == number, f"reload {number}")  # noqa: B023


def test_the_path_unit_waits_for_a_store_that_is_not_there_yet(machine: Machine, ca: CertificateAuthority) -> None:
    """The stamp of a store that an older release made comes with the first start."""
    with acquire(machine.root / STORE) as writer:
        install(writer, ca.issue(MAIN_HOST))
        writer.layout.stamp(MAIN).unlink()
    before = reloads(machine)
    with watching(machine, "witness"):
        with acquire(machine.root / STORE) as writer:
            assert writer.layout.stamp(MAIN).exists()
        wait_for(lambda: reloads(machine) > before, "a reload")


def test_a_stamp_that_is_copied_over_the_old_one_counts_as_well(machine: Machine, writer: StoreWriter) -> None:
    """As rsync writes it on another server: a new file under the old name."""
    before = reloads(machine)
    with watching(machine, "witness"):
        copied = machine.put(f"{STORE}/stamps/.main.copy", "7\n")
        copied.rename(writer.layout.stamp(MAIN))
        wait_for(lambda: reloads(machine) > before, "a reload")


def test_dovecot_and_postfix_show_what_is_live(machine: Machine, writer: StoreWriter, ca: CertificateAuthority) -> None:
    first, second = ca.issue(MAIN_HOST), ca.issue(MAIN_HOST)
    install(writer, first)
    smtp = (SMTP, "-starttls", "smtp")
    with watching(machine, "dovecot", "postfix"):
        wait_for(lambda: is_shown(machine, first, IMAPS), "Dovecot to show the first certificate")
        wait_for(lambda: is_shown(machine, first, *smtp), "Postfix to show the first certificate")
        install(writer, second)
        wait_for(lambda: is_shown(machine, second, IMAPS), "Dovecot to show the new certificate")
        wait_for(lambda: is_shown(machine, second, *smtp), "Postfix to show the new certificate")
        writer.rollback(MAIN)
        wait_for(lambda: is_shown(machine, first, IMAPS), "Dovecot to show the certificate of the rollback")
        wait_for(lambda: is_shown(machine, first, *smtp), "Postfix to show the certificate of the rollback")
