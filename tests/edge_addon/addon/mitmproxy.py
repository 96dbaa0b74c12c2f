"""Runs mitmproxy's programs with the addon, and sends requests to them."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.running import Site, served_fingerprint, take_in_drops, write_site

CA = CertificateAuthority()
ENTRY = Path(__file__).parents[3] / "edge_addon" / "entry.py"
TOKEN = "a-token-of-an-order-under-way"
LISTENING = re.compile(r"(certificate edge|reverse proxy to \S+|HTTP\(S\) proxy) listening at \S*?([\d.]*|\*):(\d+)\.")
# mitmproxy itself may log a traceback when it ends during a connection: asyncio's streams on Python 3.12.
OUR_TRACEBACK = re.compile(r'File "[^"]*/(edge_addon|certstore)/')
# mitmproxy's log identifies listeners on port 0 by their address.
HTTPS, HTTP = "127.0.0.1", "127.0.0.2"
LISTENERS = [{"kind": "https", "listen": f"{HTTPS}:0"}, {"kind": "http", "listen": f"{HTTP}:0"}]


class Mitmproxy:
    """mitmdump or mitmweb with the addon, its folder and its output."""

    def __init__(self, folder: Path, program: str, arguments: tuple[str, ...], *, is_configured: bool = True) -> None:
        self.store = folder / "store"
        self._log = folder / "mitmproxy.log"
        code = f"import sys; from mitmproxy.tools.main import {program}; sys.exit({program}())"
        # A copy: mitmproxy watches its scripts, and a test may touch one.
        self.entry = folder / ENTRY.name
        self.entry.write_bytes(ENTRY.read_bytes())
        options = ["-s", str(self.entry), "--set", f"confdir={folder}"]
        if is_configured:
            options += ["--set", f"edge_config={folder / 'edge.yaml'}"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def address(self, mode: str, host: str = "") -> tuple[str, int]:
        """The address of the server of this mode, once it listens."""

        def found() -> tuple[str, int] | None:
            assert self.process.poll() is None, self.output
            for name, at, port in LISTENING.findall(self.output):
                if name.startswith(mode) and at.endswith(host):
                    return at.replace("*", "127.0.0.1") or "127.0.0.1", int(port)
            return None

        return wait_for(found, f"a listening {mode} {host}", seconds=60) or ("", 0)

    def served(self, host: str, port: int, server_name: str | None) -> str:
        return served_fingerprint(port, server_name, host=host)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def mitmproxy_with_edge(
    folder: Path,
    *arguments: str,
    program: str = "mitmdump",
    settings: Mapping[str, Any] | None = None,
    sites: Mapping[str, Any] | None = None,
) -> Iterator[Mitmproxy]:
    store = folder / "store"
    for site, given in {"main": Site(CA.issue("edge.test")), **(sites or {})}.items():
        write_site(store, site, given)
    take_in_drops(store, ["main", *(sites or {})])
    (folder / "edge.yaml").write_text(yaml.safe_dump({"listeners": LISTENERS, **(settings or {})}))
    running = Mitmproxy(folder, program, arguments)
    try:
        yield running
        running.stop()
        assert not OUR_TRACEBACK.search(running.output), running.output
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def is_served(address: tuple[str, int], server_name: str, certificate: Issued) -> bool:
    return served_fingerprint(address[1], server_name, host=address[0]) == certificate.fingerprint


def order_challenge(store: Path) -> bytes:
    """Write a key authorization as an order under way does."""
    path = Layout(store).challenge(TOKEN)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"key-authorization-of-the-order")
    return path.read_bytes()


def ask(address: tuple[str, int], host: str, path: str, server_name: str | None = None) -> bytes:
    """The whole answer to a GET; over TLS when a server name is given."""
    with contextlib.ExitStack() as stack:
        peer: socket.socket = stack.enter_context(socket.create_connection(address, timeout=60))
        if server_name is not None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            peer = stack.enter_context(context.wrap_socket(peer, server_hostname=server_name))
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ssl.SSLEOFError):
            while data := peer.recv(65536):
                answer += data
    return answer
