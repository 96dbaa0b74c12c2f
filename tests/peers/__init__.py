"""The real servers and clients that the tests use, where they are, and which Debian packages contain them.

`python -m tests.peers` prints the packages that are missing on this machine; `tests/run` installs them.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

MISSING_PEER = "missing peer: "
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Peer:
    """A program, the packages that contain it, and the files without which it is incomplete."""

    program: str
    packages: tuple[str, ...]
    files: tuple[str, ...] = ()

    def find(self) -> Path | None:
        """The program's path, or None if it or one of its files is missing."""
        program = shutil.which(self.program, path=SYSTEM_PATH)
        if program is None or not all(Path(name).exists() for name in self.files):
            return None
        return Path(program)


DOVECOT = Path("/usr/lib/dovecot")
PEERS = {
    "nginx": Peer("nginx", ("nginx",)),
    "dovecot": Peer(
        "dovecot",
        ("dovecot-imapd", "dovecot-pop3d", "dovecot-managesieved", "dovecot-lmtpd"),
        tuple(str(DOVECOT / name) for name in ("imap", "pop3", "managesieve", "lmtp")),
    ),
    "postfix": Peer("postfix", ("postfix",)),
    "caddy": Peer("caddy", ("caddy",)),
    "chromium": Peer("chromium", ("chromium",)),
    "curl": Peer("curl", ("curl",)),
    "debootstrap": Peer("debootstrap", ("debootstrap",)),
    "etcd": Peer("etcd", ("etcd-server",)),
    "etcdctl": Peer("etcdctl", ("etcd-client",)),
    "fetchmail": Peer("fetchmail", ("fetchmail",)),
    "getmail": Peer("getmail", ("getmail6",)),
    "go": Peer("go", ("golang-go",)),
    "groff": Peer("groff", ("groff",)),
    "h2load": Peer("h2load", ("nghttp2-client",)),
    "ip": Peer("ip", ("iproute2",)),
    "javac": Peer("javac", ("default-jdk-headless",)),
    "logrotate": Peer("logrotate", ("logrotate",)),
    "mbsync": Peer("mbsync", ("isync",)),
    "msmtp": Peer("msmtp", ("msmtp",)),
    "nghttp": Peer("nghttp", ("nghttp2-client",)),
    "named": Peer("named", ("bind9",)),
    "node": Peer("node", ("nodejs",)),
    "npm": Peer("npm", ("npm",)),
    "offlineimap": Peer("offlineimap", ("offlineimap3",)),
    "openssl": Peer("openssl", ("openssl",)),
    "pebble": Peer("pebble", ("pebble",)),
    "pebble-challtestsrv": Peer("pebble-challtestsrv", ("pebble",)),
    "promtool": Peer("promtool", ("prometheus",)),
    "rclone": Peer("rclone", ("rclone",)),
    "restic": Peer("restic", ("restic",)),
    "sieve-connect": Peer("sieve-connect", ("sieve-connect",)),
    "swaks": Peer("swaks", ("swaks",)),
    "systemd-analyze": Peer("systemd-analyze", ("systemd",)),
    "systemd-nspawn": Peer("systemd-nspawn", ("systemd-container",)),
    "systemd-socket-activate": Peer("systemd-socket-activate", ("systemd",)),
    "valgrind": Peer("valgrind", ("valgrind",)),
    "wrk": Peer("wrk", ("wrk",)),
}


def require_peer(name: str) -> Path:
    """The path of peer `name`. If it is missing, the test is skipped and named at the end; with CI=true it fails."""
    found = PEERS[name].find()
    if found is None:
        do_without(f"{name} (apt install {' '.join(PEERS[name].packages)})")
    return found


def do_without(peer: str) -> NoReturn:
    """End the test because `peer` is missing; its text names it and what provides it."""
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING_PEER + peer, pytrace=False)
    pytest.skip(MISSING_PEER + peer)


def missing_packages() -> list[str]:
    """Packages that would complete the peers."""
    return [package for peer in PEERS.values() if peer.find() is None for package in peer.packages]
