"""Handshakes of all kinds of ends, many times: whole, cut off, broken, resumed, on certificates that are replaced.

    python -m tests.edge_addon.transport.handshakes [COUNT]

prints how much memory the process has after each tenth of them.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
import sys
import tempfile
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.net.tls_engine import engine_in_force
from edge_addon.transport.served_contexts import ServedContexts, open_stage, served_contexts
from tests.certificates import CertificateAuthority
from tests.edge_addon.transport.test_tls_contexts import publish

CAS = [CertificateAuthority(f"CA {number}") for number in range(3)]
ISSUED = [ca.issue("a.test") for ca in CAS for _ in range(2)]
RSA = CAS[0].issue("a.test", key_type="rsa2048")
PLAIN = ISSUED[0].encrypted_privkey_pem(b"word")
SITES = 4
REPLACED_AFTER = 50


def strain(contexts: ServedContexts, layout: Layout, count: int) -> None:
    """So many handshakes; each site gets another certificate now and then, and one that does not load."""
    clients = [_client(version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    sessions: list[ssl.SSLSession | None] = [None, None]
    reused = 0
    served: dict[str, ServedCertificate] = {}
    for number in range(count):
        site = f"s{number % SITES}.test"
        if site not in served or number % REPLACED_AFTER == 0:
            version = served[site].version + 1 if site in served else 1
            pick = number // REPLACED_AFTER
            shutil.rmtree(layout.version(site, version), ignore_errors=True)
            served[site] = publish(layout, site, version, ISSUED[pick % 6], rsa=RSA if pick % 5 == 0 else None)
            if pick % 7 == 1:
                (layout.version(site, version) / "privkey.pem").write_bytes(PLAIN)
        context = contexts.get(served[site], is_mail=number % 3 == 0)
        if context is None:
            continue
        kind = number % 2
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = clients[kind].wrap_bio(to_client, to_server, session=sessions[kind])
        stage = open_stage(context)
        end = number % 11  # after so many flights, or broken, or whole
        with contextlib.suppress(ssl.SSLError):
            for flight in range(4):
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                data = to_server.read()
                if end == 4 + flight:
                    data = data[:-1] + bytes((data[-1] ^ 1,)) if data else b"\x16\x03\x03\x00\x01x"
                stage.feed(data)
                if end == flight:
                    break
                with contextlib.suppress(ssl.SSLWantReadError):
                    stage.handshake()
                to_client.write(stage.output())
            else:
                stage.write(b"x" * 20_000)
                to_client.write(stage.output())
                client.read(10)
                if sessions[kind] is None:
                    sessions[kind] = client.session  # Python 3.12 never frees what this returns
                reused += client.session_reused is True
                stage.close_notify()
    assert reused or count < 100


def _client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["imap", "h2"])
    return context


def main() -> None:
    logging.disable()
    count = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    with tempfile.TemporaryDirectory(prefix="handshakes-") as folder:
        layout = Layout(Path(folder))
        contexts = served_contexts(layout, Settings())
        sys.stdout.write(f"{engine_in_force().description}\n")
        for tenth in range(10):
            strain(contexts, layout, count // 10)
            status = Path("/proc/self/status").read_text()
            kilobytes = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
            sys.stdout.write(f"{(tenth + 1) * (count // 10):,}: {kilobytes:,} KB\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
