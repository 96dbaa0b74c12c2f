"""The addon as hooks in a mode that the user chose."""

import hashlib
import socket
import ssl
from pathlib import Path

import pytest

from tests.deadlines import wait_for
from tests.edge_addon.addon.mitmproxy import CA, TOKEN, ask, mitmproxy_with_edge, order_challenge
from tests.running import Site, drop_certificate


def test_it_selects_by_name_in_a_reverse_proxy(tmp_path: Path, upstream: str) -> None:
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


def test_it_serves_a_chain_that_clients_trust(tmp_path: Path, upstream: str) -> None:
    sites = {"client-a.test": CA.issue("client-a.test")}
    with mitmproxy_with_edge(tmp_path, "--mode", f"reverse:http://{upstream}@127.0.0.1:0", sites=sites) as running:
        reverse = running.address("reverse proxy")
        trusting = ssl.create_default_context(cadata=CA.root_pem.decode())
        with (
            socket.create_connection(reverse, timeout=60) as plain,
            trusting.wrap_socket(plain, server_hostname="client-a.test"),
        ):
            pass
        with socket.create_connection(reverse, timeout=60) as plain, pytest.raises(ssl.SSLCertVerificationError):
            trusting.wrap_socket(plain, server_hostname="unknown.test")


def test_it_answers_challenges_before_the_upstream(tmp_path: Path, upstream: str) -> None:
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


def test_unknown_challenges_can_go_to_the_upstream(tmp_path: Path, upstream: str) -> None:
    settings = {"http": {"unknown_challenge": "upstream"}}
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, settings=settings) as running:
        unknown = ask(running.address("reverse proxy"), "a.test", "/.well-known/acme-challenge/another-token-of-nobody")
        assert b"upstream" in unknown


def test_a_request_for_another_certificates_host_is_misdirected(tmp_path: Path, upstream: str) -> None:
    sites = {"client-a.test": CA.issue("client-a.test"), "client-b.test": CA.issue("client-b.test")}
    arguments = ("--mode", f"reverse:http://{upstream}@127.0.0.1:0", "--set", "keep_host_header=true")
    with mitmproxy_with_edge(tmp_path, *arguments, sites=sites) as running:
        reverse = running.address("reverse proxy")
        assert b" 421 " in ask(reverse, "client-b.test", "/", "client-a.test").splitlines()[0]
        assert b" 200 " in ask(reverse, "client-b.test", "/", "client-b.test").splitlines()[0]
        assert b" 200 " in ask(reverse, "client-b.test", "/").splitlines()[0]


def test_it_serves_a_replaced_certificate(tmp_path: Path, upstream: str) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, sites={"client-a.test": old}) as running:
        reverse = running.address("reverse proxy")
        assert running.served(*reverse, "client-a.test") == old.fingerprint
        drop_certificate(running.store, "client-a.test", new)
        wait_for(lambda: running.served(*reverse, "client-a.test") == new.fingerprint, "the new certificate")


def test_an_unknown_name_can_be_refused(tmp_path: Path, upstream: str) -> None:
    mode = f"reverse:http://{upstream}@127.0.0.1:0"
    with mitmproxy_with_edge(tmp_path, "--mode", mode, settings={"tls": {"unknown_name": "reject"}}) as running:
        reverse = running.address("reverse proxy")
        assert running.served(*reverse, "edge.test")
        with pytest.raises(ssl.SSLError):
            running.served(*reverse, "unknown.test")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_ever_resumes(tmp_path: Path, upstream: str, version: ssl.TLSVersion) -> None:
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
                socket.create_connection(reverse, timeout=60) as plain,
                context.wrap_socket(plain, server_hostname=server_name, session=session) as secure,
            ):
                assert not secure.session_reused
                leaf = secure.getpeercert(binary_form=True)
                assert leaf is not None
                assert hashlib.sha256(leaf).hexdigest() == sites[server_name].fingerprint


def _session(context: ssl.SSLContext, address: tuple[str, int], server_name: str) -> ssl.SSLSession | None:
    """The session that a client has after a handshake and an exchange, with its tickets."""
    with (
        socket.create_connection(address, timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as secure,
    ):
        secure.sendall(f"GET / HTTP/1.1\r\nHost: {server_name}\r\n\r\n".encode())
        assert secure.recv(65536)
        return secure.session


def test_in_a_regular_proxy_it_serves_tls_inside_connect(tmp_path: Path) -> None:
    domain = CA.issue("client-a.test")
    mode = "regular@127.0.0.1:0"
    arguments = ("--mode", mode, "--set", "connection_strategy=lazy")
    with mitmproxy_with_edge(tmp_path, *arguments, sites={"client-a.test": domain}) as running:
        proxy = running.address("HTTP(S) proxy")
        with socket.create_connection(proxy, timeout=60) as peer:
            peer.sendall(b"CONNECT client-a.test:443 HTTP/1.1\r\nHost: client-a.test:443\r\n\r\n")
            assert b" 200 " in peer.recv(65536)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(peer, server_hostname="client-a.test") as secure:
                leaf = secure.getpeercert(binary_form=True)
        assert leaf is not None
        assert hashlib.sha256(leaf).hexdigest() == domain.fingerprint
