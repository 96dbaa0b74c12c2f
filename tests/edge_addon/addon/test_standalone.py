"""The addon in a single process: it starts the listeners and processes drops."""

import socket
from functools import partial
from pathlib import Path

import pytest
import yaml

from certstore.store.writer import StoreWriter
from tests.deadlines import wait_for
from tests.edge_addon.addon.mitmproxy import (
    CA,
    HTTP,
    HTTPS,
    LISTENERS,
    OUR_TRACEBACK,
    TOKEN,
    Mitmproxy,
    ask,
    is_served,
    mitmproxy_with_edge,
    order_challenge,
)
from tests.running import drop_certificate


@pytest.mark.parametrize("program", ["mitmdump", "mitmweb"])
def test_it_selects_certificates_and_answers_challenges(tmp_path: Path, program: str) -> None:
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


def test_it_serves_a_replaced_certificate_and_keeps_open_connections(tmp_path: Path) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with mitmproxy_with_edge(tmp_path, "-n", sites={"client-a.test": old}) as running:
        https, http = running.address("certificate edge", HTTPS), running.address("certificate edge", HTTP)
        with socket.create_connection(http, timeout=60) as open_before:
            assert running.served(*https, "client-a.test") == old.fingerprint
            drop_certificate(running.store, "client-a.test", new)
            wait_for(lambda: running.served(*https, "client-a.test") == new.fingerprint, "the new certificate")
            open_before.sendall(b"GET / HTTP/1.1\r\nHost: client-a.test\r\n\r\n")
            assert open_before.recv(65536).startswith(b"HTTP/1.1 30")


def test_beside_another_writer_it_only_reads(tmp_path: Path) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with mitmproxy_with_edge(tmp_path, "-n", sites={"client-a.test": old}) as first:
        https = first.address("certificate edge", HTTPS)
        (tmp_path / "second").mkdir()
        config = yaml.safe_dump({"listeners": LISTENERS, "store": str(first.store)})
        (tmp_path / "second" / "edge.yaml").write_text(config)
        second = Mitmproxy(tmp_path / "second", "mitmdump", ("-n",))
        try:
            other = second.address("certificate edge", HTTPS)
            assert "only serves what that one publishes" in second.output
            assert f"process {first.process.pid}" in second.output
            drop_certificate(first.store, "client-a.test", new)
            for address in (https, other):
                wait_for(partial(is_served, address, "client-a.test", new), "the new certificate")
        finally:
            second.stop()
        assert not OUR_TRACEBACK.search(second.output)


def test_the_store_is_released_at_the_end(tmp_path: Path) -> None:
    with mitmproxy_with_edge(tmp_path, "-n") as running:
        running.address("certificate edge", HTTPS)
    with StoreWriter.acquire(tmp_path / "store"):
        pass
