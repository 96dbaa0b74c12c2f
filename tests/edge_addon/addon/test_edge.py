"""The addon in mitmproxy's own programs: alone in one process, and as hooks in a mode of the user's own."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.model.layout import Layout
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.ports import listening_socket
from tests.running import Site, drop_certificate, served_fingerprint, take_in_drops, write_site

CA = CertificateAuthority()
ENTRY = Path(__file__).parents[3] / "edge_addon" / "entry.py"
TOKEN = "a-token-of-an-order-under-way"
LISTENING = re.compile(r"(certificate edge|reverse proxy to \S+|HTTP\(S\) proxy) listening at \S*?([\d.]*|\*):(\d+)\.")
# mitmproxy itself may leave one when it ends with a connection under way: asyncio's streams on Python 3.12.
OUR_TRACEBACK = re.compile(r'File "[^"]*/(edge_addon|certstore)/')
# Listeners on port 0 are told apart by their address in what mitmproxy logs.
HTTPS, HTTP = "127.0.0.1", "127.0.0.2"
LISTENERS = [{"kind": "https", "listen": f"{HTTPS}:0"}, {"kind": "http", "listen": f"{HTTP}:0"}]


class Mitmproxy:
    """mitmdump or mitmweb with the addon, its folder and what it wrote."""

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
        """Where the server of this mode listens, once it does."""

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


@pytest.fixture
def upstream() -> Iterator[str]:
    """A web server that answers with the host and path that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"upstream {self.headers['Host']} {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def is_served(address: tuple[str, int], server_name: str, certificate: Issued) -> bool:
    return served_fingerprint(address[1], server_name, host=address[0]) == certificate.fingerprint


def order_challenge(store: Path) -> bytes:
    """A key authorization as an order under way leaves it."""
    path = Layout(store).challenge(TOKEN)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"key-authorization-of-the-order")
    return path.read_bytes()


def ask(address: tuple[str, int], host: str, path: str, server_name: str | None = None) -> bytes:
    """The whole answer to a GET; over TLS when a server name is given."""
    with contextlib.ExitStack() as stack:
        peer: socket.socket = stack.enter_context(socket.create_connection(address, timeout=15))
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


@pytest.mark.parametrize("program", ["mitmdump", "mitmweb"])
def test_alone_it_chooses_certificates_and_answers_challenges(tmp_path: Path, program: str) -> None:
    domain = CA.issue("client-a.test")
    extra = ("--no-web-open-browser", "--web-port", "0") if program == "mitmweb" else ()
    with mitmproxy_with_edge(tmp_path, "-n", *extra, program=program, sites={"client-a.test": domain}) as running:
        https, http = running.address("certificate edge", HTTPS), running.address("certificate edge", HTTP)
        assert running.served(*https, "client-a.test") == domain.fingerprint
        assert running.served(*https, "unknown.test") != domain.fingerprint
        assert running.served(*https, None) != domain.fingerprint
        expected = order_challenge(running.store)
        assert ask(http, "client-a.test", f"/.well-known/acme-challenge/{TOKEN}").endswith(expected)
        assert b" 404 " in ask(http, "client-a.test", f"/.well-known/acme-challenge/{TOKEN[::-1]}").splitlines()[0]
        assert "neither ordered nor renewed" in running.output
        assert "without -n" not in running.output
        assert "proxy listening" not in running.output


def test_alone_it_takes_a_replaced_certificate_into_use_under_an_open_connection(tmp_path: Path) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with mitmproxy_with_edge(tmp_path, "-n", sites={"client-a.test": old}) as running:
        https, http = running.address("certificate edge", HTTPS), running.address("certificate edge", HTTP)
        with socket.create_connection(http, timeout=15) as open_before:
            assert running.served(*https, "client-a.test") == old.fingerprint
            drop_certificate(running.store, "client-a.test", new)
            wait_for(lambda: running.served(*https, "client-a.test") == new.fingerprint, "the new certificate")
            open_before.sendall(b"GET / HTTP/1.1\r\nHost: client-a.test\r\n\r\n")
            assert open_before.recv(65536).startswith(b"HTTP/1.1 30")


def test_alone_beside_a_writer_it_only_reads(tmp_path: Path) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with mitmproxy_with_edge(tmp_path, "-n", sites={"client-a.test": old}) as first:
        https = first.address("certificate edge", HTTPS)
        (tmp_path / "second").mkdir()
        config = yaml.safe_dump({"listeners": LISTENERS, "store": str(first.store)})
        (tmp_path / "second" / "edge.yaml").write_text(config)
        second = Mitmproxy(tmp_path / "second", "mitmdump", ("-n",))
        try:
            other = second.address("certificate edge", HTTPS)
            assert "only serves what is published" in second.output
            assert f"process {first.process.pid}" in second.output
            drop_certificate(first.store, "client-a.test", new)
            for address in (https, other):
                wait_for(partial(is_served, address, "client-a.test", new), "the new certificate")
        finally:
            second.stop()
        assert not OUR_TRACEBACK.search(second.output)


def test_without_n_it_warns_and_lets_nobody_through_the_forward_proxy(tmp_path: Path) -> None:
    with listening_socket() as probe:
        port = probe.getsockname()[1]
    with mitmproxy_with_edge(tmp_path, "--listen-host", "127.0.0.1", "--listen-port", str(port)) as running:
        running.address("certificate edge", HTTPS)
        assert f"forward proxy on port {port}" in running.output
        wait_for(lambda: f"HTTP(S) proxy at 127.0.0.1:{port} stopped." in running.output, "the forward proxy closed")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"listeners": [{"kind": "gopher", "listen": "127.0.0.1:0"}]}, "listeners[0].kind", id="bad value"),
        pytest.param({"store": "/dev/null/store"}, "does not start", id="no store"),
    ],
)
def test_what_can_not_be_served_ends_mitmproxy(tmp_path: Path, settings: Mapping[str, Any], message: str) -> None:
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump({"listeners": LISTENERS, **settings}))
    running = Mitmproxy(tmp_path, "mitmdump", ("-n",))
    try:
        assert running.process.wait(60) == 1
        assert message in running.output
        assert not OUR_TRACEBACK.search(running.output)
    finally:
        running.process.kill()
        running.process.wait()


def test_without_the_option_it_says_what_is_missing(tmp_path: Path) -> None:
    running = Mitmproxy(tmp_path, "mitmdump", ("-n",), is_configured=False)
    try:
        assert running.process.wait(60) == 1
        assert "--set edge_config=edge.yaml" in running.output
    finally:
        running.process.kill()
        running.process.wait()


def test_as_hooks_it_chooses_by_name_in_a_reverse_proxy(tmp_path: Path, upstream: str) -> None:
    domain, wildcard = CA.issue("client-a.test"), CA.issue("*.client-b.test", key_type="rsa2048")
    sites = {
        "client-a.test": domain,
        "client-b.test": Site(wildcard, {"host": "mail.client-b.test", "additional_names": ["*.client-b.test"]}),
    }
    with mitmproxy_with_edge(tmp_path, "--mode", f"reverse:http://{upstream}@127.0.0.1:0", sites=sites) as running:
        reverse = running.address("reverse proxy")
        main = running.served(*reverse, None)
        assert running.served(*reverse, "Client-A.test") == domain.fingerprint
        assert running.served(*reverse, "mail.client-b.test") == wildcard.fingerprint
        assert running.served(*reverse, "other.client-b.test") == wildcard.fingerprint
        assert running.served(*reverse, "deep.below.client-b.test") == main
        assert running.served(*reverse, "unknown.test") == main
        answer = ask(reverse, "client-a.test", "/page", "client-a.test")
        assert b" 200 " in answer.splitlines()[0]
        assert answer.endswith(b"/page")
        assert "starts no listeners" in running.output
        assert "certificate edge listening" not in running.output


def test_as_hooks_it_serves_a_chain_that_clients_trust(tmp_path: Path, upstream: str) -> None:
    sites = {"client-a.test": CA.issue("client-a.test")}
    with mitmproxy_with_edge(tmp_path, "--mode", f"reverse:http://{upstream}@127.0.0.1:0", sites=sites) as running:
        reverse = running.address("reverse proxy")
        trusting = ssl.create_default_context(cadata=CA.root_pem.decode())
        with (
            socket.create_connection(reverse, timeout=15) as plain,
            trusting.wrap_socket(plain, server_hostname="client-a.test"),
        ):
            pass
        with socket.create_connection(reverse, timeout=15) as plain, pytest.raises(ssl.SSLCertVerificationError):
            trusting.wrap_socket(plain, server_hostname="unknown.test")


def test_as_hooks_it_answers_challenges_before_the_upstream(tmp_path: Path, upstream: str) -> None:
    with mitmproxy_with_edge(tmp_path, "--mode", f"reverse:http://{upstream}@127.0.0.1:0") as running:
        reverse = running.address("reverse proxy")
        expected = order_challenge(running.store)
        known = ask(reverse, "client-a.test", f"/.well-known/acme-challenge/{TOKEN}")
        assert known.endswith(expected)
        assert b"application/octet-stream" in known
        unknown = ask(reverse, "client-a.test", "/.well-known/acme-challenge/another-token-of-nobody")
        assert b" 404 " in unknown.splitlines()[0]
        assert b"upstream" not in unknown
        assert b"upstream" in ask(reverse, "client-a.test", "/page")


def test_as_hooks_unknown_challenges_go_to_a_certbot_behind_when_told_so(tmp_path: Path, upstream: str) -> None:
    settings = {"http": {"unknown_challenge": "upstream"}}
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, settings=settings) as running:
        unknown = ask(running.address("reverse proxy"), "a.test", "/.well-known/acme-challenge/another-token-of-nobody")
        assert b"upstream" in unknown


def test_as_hooks_a_request_for_another_certificates_host_is_misdirected(tmp_path: Path, upstream: str) -> None:
    sites = {"client-a.test": CA.issue("client-a.test"), "client-b.test": CA.issue("client-b.test")}
    arguments = ("--mode", f"reverse:http://{upstream}@127.0.0.1:0", "--set", "keep_host_header=true")
    with mitmproxy_with_edge(tmp_path, *arguments, sites=sites) as running:
        reverse = running.address("reverse proxy")
        assert b" 421 " in ask(reverse, "client-b.test", "/", "client-a.test").splitlines()[0]
        assert b" 200 " in ask(reverse, "client-b.test", "/", "client-b.test").splitlines()[0]
        assert b" 200 " in ask(reverse, "client-b.test", "/").splitlines()[0]


def test_as_hooks_it_takes_a_replaced_certificate_into_use(tmp_path: Path, upstream: str) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, sites={"client-a.test": old}) as running:
        reverse = running.address("reverse proxy")
        assert running.served(*reverse, "client-a.test") == old.fingerprint
        drop_certificate(running.store, "client-a.test", new)
        wait_for(lambda: running.served(*reverse, "client-a.test") == new.fingerprint, "the new certificate")


def test_as_hooks_an_unknown_name_can_be_refused(tmp_path: Path, upstream: str) -> None:
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, settings={"tls": {"unknown_name": "reject"}}) as running:
        reverse = running.address("reverse proxy")
        assert running.served(*reverse, "edge.test")
        with pytest.raises(ssl.SSLError):
            running.served(*reverse, "unknown.test")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_as_hooks_no_session_ever_resumes(tmp_path: Path, upstream: str, version: ssl.TLSVersion) -> None:
    sites = {"client-a.test": CA.issue("client-a.test"), "client-b.test": CA.issue("client-b.test")}
    with mitmproxy_with_edge(tmp_path, "--mode", f"reverse:http://{upstream}@127.0.0.1:0", sites=sites) as running:
        reverse = running.address("reverse proxy")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        session = _session(context, reverse, "client-a.test")
        for server_name in ("client-a.test", "client-b.test"):
            with (
                socket.create_connection(reverse, timeout=15) as plain,
                context.wrap_socket(plain, server_hostname=server_name, session=session) as secure,
            ):
                assert not secure.session_reused
                leaf = secure.getpeercert(binary_form=True)
                assert leaf is not None
                assert hashlib.sha256(leaf).hexdigest() == sites[server_name].fingerprint


def _session(context: ssl.SSLContext, address: tuple[str, int], server_name: str) -> ssl.SSLSession | None:
    """What the client keeps after a handshake and an exchange, with the tickets that came meanwhile."""
    with (
        socket.create_connection(address, timeout=15) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as secure,
    ):
        secure.sendall(f"GET / HTTP/1.1\r\nHost: {server_name}\r\n\r\n".encode())
        assert secure.recv(65536)
        return secure.session


def test_as_hooks_in_a_regular_proxy_it_serves_tls_inside_connect(tmp_path: Path) -> None:
    domain = CA.issue("client-a.test")
    mode = "regular@127.0.0.1:0"
    arguments = ("--mode", mode, "--set", "connection_strategy=lazy")
    with mitmproxy_with_edge(tmp_path, *arguments, sites={"client-a.test": domain}) as running:
        proxy = running.address("HTTP(S) proxy")
        with socket.create_connection(proxy, timeout=15) as peer:
            peer.sendall(b"CONNECT client-a.test:443 HTTP/1.1\r\nHost: client-a.test:443\r\n\r\n")
            assert b" 200 " in peer.recv(65536)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(peer, server_hostname="client-a.test") as secure:
                leaf = secure.getpeercert(binary_form=True)
        assert leaf is not None
        assert hashlib.sha256(leaf).hexdigest() == domain.fingerprint


def test_the_store_is_let_go_of_at_the_end(tmp_path: Path) -> None:
    with mitmproxy_with_edge(tmp_path, "-n") as running:
        running.address("certificate edge", HTTPS)
    with StoreWriter.acquire(tmp_path / "store"):
        pass


@pytest.mark.parametrize("mode", [None, "reverse"])
def test_a_script_that_mitmproxy_loads_again_serves_again(tmp_path: Path, upstream: str, mode: str | None) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with listening_socket() as probe:
        port = probe.getsockname()[1]
    settings = {"listeners": [{"kind": "https", "listen": f"127.0.0.1:{port}"}]}
    arguments = ("--mode", f"reverse:http://{upstream}@127.0.0.1:{port}") if mode else ("-n",)
    with mitmproxy_with_edge(tmp_path, *arguments, settings=settings, sites={"client-a.test": old}) as running:
        address = running.address("reverse proxy" if mode else "certificate edge")
        assert is_served(address, "client-a.test", old)
        began = running.output.count("alone in one process")
        running.entry.touch()
        wait_for(lambda: running.output.count("alone in one process") > began, "the script loaded again")

        def is_new_served() -> bool:
            try:
                return is_served(address, "client-a.test", new)
            except ConnectionRefusedError:
                return False

        drop_certificate(running.store, "client-a.test", new)
        wait_for(is_new_served, "the new certificate")
