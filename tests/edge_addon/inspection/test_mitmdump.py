"""Inspected sites in mitmproxy's own programs: its output, its web interface and the user's scripts see their flows."""

import json
import socket
import ssl
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

from tests.deadlines import wait_for
from tests.edge_addon.addon.mitmproxy import CA, HTTPS, mitmproxy_with_edge
from tests.peers.recorder import Recorder, answering, ok
from tests.ports import listening_socket
from tests.running import Site

SCRIPT = """
def requestheaders(flow):
    flow.request.headers["X-Seen"] = flow.client_conn.peername[0]
"""


def fetch(address: tuple[str, int], name: str, path: str) -> bytes:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    with socket.create_connection(address, timeout=60) as plain:
        plain.sendall(b"PROXY TCP4 8.8.8.8 192.0.2.1 4711 443\r\n")
        with context.wrap_socket(plain, server_hostname=name) as secure:
            secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: secure.recv(65536), b""))


def test_mitmdump_shows_the_flows_of_the_inspected_site_and_runs_the_users_scripts(tmp_path: Path) -> None:
    (tmp_path / "seen.py").write_text(SCRIPT)
    sites = {"a.test": Site(CA.issue("a.test"), {"inspect": True}), "b.test": CA.issue("b.test")}
    listener = {"kind": "https", "listen": f"{HTTPS}:0", "accept_proxy_protocol": True}
    with Recorder(answering(ok())) as recorder:
        settings = {"listeners": [listener], "upstream": recorder.url, "trusted_proxies": ["127.0.0.1"]}
        arguments = ("-n", "-s", str(tmp_path / "seen.py"))
        with mitmproxy_with_edge(tmp_path, *arguments, settings=settings, sites=sites) as running:
            address = running.address("certificate edge", HTTPS)
            assert fetch(address, "a.test", "/of-a").endswith(b"ok")
            assert fetch(address, "b.test", "/of-b").endswith(b"ok")
            wait_for(lambda: "/of-a" in running.output, "the flow in mitmdump's output")
            assert "/of-b" not in running.output
    assert recorder.received.count(b"X-Seen: 8.8.8.8") == 1


def test_mitmweb_lists_the_flows_of_the_inspected_site(tmp_path: Path) -> None:
    with listening_socket() as probe:
        web = probe.getsockname()[1]
    sites = {"a.test": Site(CA.issue("a.test"), {"inspect": True})}
    listener = {"kind": "https", "listen": f"{HTTPS}:0", "accept_proxy_protocol": True}
    arguments = ("-n", "--no-web-open-browser", "--web-port", str(web), "--set", "web_password=secret")
    with Recorder(answering(ok())) as recorder:
        settings = {"listeners": [listener], "upstream": recorder.url, "trusted_proxies": ["127.0.0.1"]}
        with mitmproxy_with_edge(tmp_path, *arguments, program="mitmweb", settings=settings, sites=sites) as running:
            assert fetch(running.address("certificate edge", HTTPS), "a.test", "/listed").endswith(b"ok")
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            with opener.open(f"http://127.0.0.1:{web}/flows?token=secret", timeout=60) as answer:
                flows = json.load(answer)
    assert [(flow["request"]["path"], flow["response"]["status_code"]) for flow in flows] == [("/listed", 200)]
