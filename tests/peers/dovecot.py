"""A real Dovecot on loopback: IMAP, POP3, ManageSieve, LMTP, and authentication for Postfix.

    with running_dovecot(certificate) as dovecot:
        dovecot.ports.imap, dovecot.log

It has a separate folder and ports, and one user, `USER` with `PASSWORD`. Every listener but one expects a PROXY header
(from loopback only), offers STARTTLS, and accepts a password only over TLS: its own, or as the header says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from tests.certificates import Issued
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.ports import free_port

USER = "anna@peer.test"
PASSWORD = "correct-horse-battery"

_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap pop3 sieve lmtp
listen = 127.0.0.1
haproxy_trusted_networks = 127.0.0.0/8
disable_plaintext_auth = yes
auth_mechanisms = plain login
ssl = yes
ssl_cert = <{folder}/fullchain.pem
ssl_key = <{folder}/privkey.pem
mail_location = maildir:~/Maildir
first_valid_uid = 1
first_valid_gid = 1
auth_verbose = yes
auth_failure_delay = 0
postmaster_address = postmaster@peer.test
passdb {{
  driver = static
  args = user={user} password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/home/%u
}}
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
    haproxy = yes
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
    haproxy = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
    haproxy = yes
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service managesieve-login {{
  inet_listener sieve {{
    port = {sieve}
    haproxy = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
  inet_listener lmtp_proxied {{
    port = {lmtp_proxied}
    haproxy = yes
  }}
}}
service auth {{
  inet_listener sasl {{
    port = {sasl}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class DovecotPorts:
    imap: int
    imaps: int
    pop3: int
    sieve: int
    lmtp: int
    """The one listener that expects no PROXY header."""
    lmtp_proxied: int
    sasl: int


@dataclass(frozen=True, slots=True)
class Dovecot:
    folder: Path
    ports: DovecotPorts

    @property
    def log(self) -> str:
        """Its log so far: each login with the client's address (`rip=`)."""
        path = self.folder / "dovecot.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def peer_folder(name: str) -> Iterator[Path]:
    """A folder that the daemon's users can enter; only the owner can enter pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_dovecot(certificate: Issued) -> Iterator[Dovecot]:
    """Started and ready; stopped at the end. `certificate` is the one that it presents for TLS."""
    program = require_peer("dovecot")
    with peer_folder("dovecot") as folder:
        certificate.write_to(folder)
        ports = DovecotPorts(*(free_port() for _ in fields(DovecotPorts)))
        numbers = {each.name: getattr(ports, each.name) for each in fields(DovecotPorts)}
        config = folder / "dovecot.conf"
        config.write_text(_CONFIG.format(folder=folder, user=USER, password=PASSWORD, **numbers))
        home = folder / "home"
        home.mkdir()
        shutil.chown(home, "mail", "mail")
        process = subprocess.Popen(
            [program, "-F", "-c", str(config)], env={**os.environ}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        dovecot = Dovecot(folder, ports)
        try:
            for port in numbers.values():
                wait_for(partial(is_listening, port), f"dovecot on port {port}, its log: {folder}")
            yield dovecot
        finally:
            process.terminate()
            process.wait(20)
