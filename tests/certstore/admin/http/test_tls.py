"""The console's own certificate: the store's live main one, at once, and without touching open connections."""

import hashlib
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.admin.http.tls import LiveTlsContext
from certstore.model.certificate.dropped_file import DroppedFile
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.admin.console import RunningConsole, running_console
from tests.certstore.stores import MAIN_HOST
from tests.running import served_fingerprint


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        yield running


def replace_main(console: RunningConsole, issued: Issued) -> None:
    result = console.writer.install_files("main", [DroppedFile("all.pem", issued.combined_pem)], source="test")
    assert result.version is not None, result.message


@pytest.mark.parametrize("key_type", ["ec256", "rsa2048"])
@pytest.mark.parametrize("server_name", [MAIN_HOST, None])
def test_replaced_main_certificate_is_served_by_the_next_handshake(
    console: RunningConsole, ca: CertificateAuthority, key_type: str, server_name: str | None
) -> None:
    """From an EC to an RSA key too: a context that kept both would go on with the old one."""
    before = served_fingerprint(console.port, server_name)
    issued = ca.issue(MAIN_HOST, key_type=key_type)
    assert before != issued.fingerprint
    replace_main(console, issued)
    assert served_fingerprint(console.port, server_name) == issued.fingerprint


def test_open_connection_lives_on_over_a_change(console: RunningConsole, ca: CertificateAuthority) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=60, context=context)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    socket_before = connection.sock
    replace_main(console, ca.issue(MAIN_HOST))
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    assert connection.sock is socket_before
    connection.close()


def test_unusable_version_leaves_the_last_good_one_in_service(
    console: RunningConsole, ca: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = ca.issue(MAIN_HOST)
    replace_main(console, issued)
    assert served_fingerprint(console.port, None) == issued.fingerprint
    layout = console.writer.layout
    live = layout.live("main")
    live.unlink()
    live.symlink_to(layout.live_target("main", 99))
    assert served_fingerprint(console.port, None) == issued.fingerprint
    assert "can't load version 99" in caplog.text


def test_version_with_two_keys_serves_both_kinds_of_clients(console: RunningConsole, ca: CertificateAuthority) -> None:
    pair = [ca.issue(MAIN_HOST, key_type=kind) for kind in ("ec256", "rsa2048")]
    files = [DroppedFile(f"{number}.pem", each.combined_pem) for number, each in enumerate(pair)]
    assert console.writer.install_files("main", files, source="test").version is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+aRSA")
    connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=60, context=context)
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    leaf = connection.sock.getpeercert(binary_form=True) or b""
    connection.close()
    assert hashlib.sha256(leaf).hexdigest() == pair[1].fingerprint


def test_console_starts_on_the_version_before_one_that_can_not_be_loaded(
    console: RunningConsole, ca: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    layout = console.writer.layout
    replace_main(console, ca.issue(MAIN_HOST))
    replace_main(console, ca.issue(MAIN_HOST))
    (layout.version("main", 3) / "privkey.pem").write_bytes(b"")
    LiveTlsContext(layout)
    assert "can't load version 3 of the main certificate: pem lib" in caplog.text
    for each in layout.versions("main").iterdir():
        (each / "privkey.pem").write_bytes(b"")
    with pytest.raises(ssl.SSLError):
        LiveTlsContext(layout)
