"""A real Postfix on loopback: SMTP and submission, each behind a PROXY header, delivering to Dovecot by LMTP.

    with running_postfix(certificate, dovecot) as postfix:
        postfix.ports.smtp, postfix.log

It has a separate configuration, queue and ports, and leaves an installed Postfix alone. Both services offer STARTTLS.
Submission uses Dovecot for SASL and offers AUTH without TLS too, because the edge terminates TLS. The smtp service
accepts mail only for peer.test and trusts nobody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.certificates import Issued
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.dovecot import Dovecot, is_listening, peer_folder
from tests.ports import free_port

HOSTNAME = "mail.peer.test"
DAEMONS = Path("/usr/lib/postfix/sbin")

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = {hostname}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = peer.test
virtual_mailbox_maps = static:yes
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
{delivery}
relay_domains =
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
notify_classes =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/combined.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
postscreen_upstream_proxy_protocol = haproxy
postscreen_greet_wait = 1s
"""

_MASTER = """
127.0.0.1:{smtp}       inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy -o smtpd_sasl_auth_enable=no
127.0.0.1:{submission} inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=no -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{smtp_tls}   inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy -o smtpd_tls_wrappermode=yes
127.0.0.1:{postscreen} inet n - n - 1 postscreen
smtpd     pass - - n - - smtpd
dnsblog   unix - - n - 0 dnsblog
tlsproxy  unix - - n - 0 tlsproxy
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
proxymap  unix - - n - - proxymap
error     unix - - n - - error
retry     unix - - n - - error
lmtp      unix - - n - - lmtp
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class PostfixPorts:
    smtp: int
    submission: int
    smtp_tls: int
    """Implicit TLS, for an edge that speaks TLS to its upstream."""
    postscreen: int


@dataclass(frozen=True, slots=True)
class Postfix:
    folder: Path
    ports: PostfixPorts

    @property
    def log(self) -> str:
        """Its log so far: each client's address (`connect from`), each mail's sender and recipient."""
        path = self.folder / "postfix.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@contextlib.contextmanager
def running_postfix(
    certificate: Issued, dovecot: Dovecot, *, lmtp_port: int | None = None, delivery: str = ""
) -> Iterator[Postfix]:
    """Started and ready; stopped at the end. `certificate` is the one that it presents for TLS.

    `lmtp_port` is where it delivers, by default to Dovecot; `delivery` holds further settings of main.cf for that.
    """
    program = require_peer("postfix")
    with peer_folder("postfix") as folder:
        ports = PostfixPorts(free_port(), free_port(), free_port(), free_port())
        lmtp = dovecot.ports.lmtp if lmtp_port is None else lmtp_port
        _write_config(folder, certificate, ports, lmtp=lmtp, sasl=dovecot.ports.sasl, delivery=delivery)
        postfix = Postfix(folder, ports)
        config = str(folder / "config")
        check = subprocess.run([program, "-c", config, "check"], capture_output=True, text=True, check=False)
        assert check.returncode == 0, check.stderr
        # Not with `postfix start`, which would leave our process group, so that we could not stop it.
        process = subprocess.Popen(
            [DAEMONS / "master", "-c", config], env={**os.environ}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            for port in (ports.smtp, ports.submission, ports.smtp_tls, ports.postscreen):
                wait_for(partial(is_listening, port), f"postfix on port {port}, its log: {folder}")
            yield postfix
        finally:
            process.terminate()
            process.wait(20)


def _write_config(folder: Path, certificate: Issued, ports: PostfixPorts, **main: int | str) -> None:
    config = folder / "config"
    for each in (config, folder / "queue", folder / "data"):
        each.mkdir()
    shutil.chown(folder / "data", "postfix", "postfix")
    (folder / "combined.pem").write_bytes(certificate.combined_pem)
    (config / "main.cf").write_text(_MAIN.format(folder=folder, daemons=DAEMONS, hostname=HOSTNAME, **main))
    (config / "master.cf").write_text(
        _MASTER.format(
            smtp=ports.smtp, submission=ports.submission, smtp_tls=ports.smtp_tls, postscreen=ports.postscreen
        )
    )
