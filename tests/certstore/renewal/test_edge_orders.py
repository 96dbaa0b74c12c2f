"""Orders through the real edge: `certedge run` answers what Pebble asks, and serves what Pebble issued."""

import json
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certstore.model.layout import Layout
from certstore.model.renewal.state import FRESH, RenewalState
from tests.certstore.cli.command import certedge
from tests.certstore.renewal.scene import make_settings
from tests.deadlines import wait_for
from tests.peers.pebble import Pebble
from tests.ports import free_port, listening_socket
from tests.running import RunningEdge, is_served_trusted, running_edge

pytestmark = pytest.mark.peer


@dataclass
class Stage:
    edge: RunningEdge
    pebble: Pebble

    @property
    def layout(self) -> Layout:
        return Layout(self.edge.store)

    def is_trusted(self, host: str) -> bool:
        """Whether a client that trusts Pebble's root and nothing else is served a certificate for this host."""
        return is_served_trusted(self.edge.port("https"), host, self.pebble.root())


@contextmanager
def edge_and_pebble(
    folder: Path, *, open_ports: Collection[int] = (80, 443), behind: str | None = None, **acme: Any
) -> Iterator[Stage]:
    """`behind`: what the edge trusts, if a load balancer stands before its https listener.

    Pebble finds the edge's listeners at those of its ports 80 and 443 that are open, and nobody at a closed one."""
    pebble = Pebble(0)
    https = {"kind": "https", "accept_proxy_protocol": behind is not None}
    settings = make_settings(pebble, 0, **acme) | {"listeners": [{"kind": "http"}, https], "workers": 2}
    if behind is not None:
        settings["trusted_proxies"] = [behind]
    with running_edge(folder, settings) as edge, ExitStack() as stack:
        https_port = edge.port("https")
        if behind is not None:
            https_port = stack.enter_context(proxy_v1_in_front_of(https_port))
        pebble.http_port = edge.port("http") if 80 in open_ports else free_port()
        pebble.tls_port = https_port if 443 in open_ports else free_port()
        stack.enter_context(pebble)
        yield Stage(edge, pebble)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with edge_and_pebble(tmp_path) as made:
        yield made


def test_site_is_ordered_for_and_served_within_seconds(stage: Stage) -> None:
    ran = certedge(stage.edge.folder, "site", "add", "a.test", "--name", "www.a.test", "--certificate", "acme")
    assert ran.code == 0, ran.err
    wait_for(lambda: stage.is_trusted("a.test"), "a certificate of Pebble's is served", seconds=60, pause=0.2)
    assert stage.is_trusted("www.a.test")
    assert not stage.is_trusted("b.test")
    assert list(stage.layout.challenges.iterdir()) == []
    status = certedge(stage.edge.folder, "site", "show", "a.test", "--json")
    assert status.code == 0, status.err


def test_order_by_hand_goes_through_control(stage: Stage) -> None:
    added = certedge(stage.edge.folder, "site", "add", "a.test", "--certificate", "acme")
    assert added.code == 0, added.err
    wait_for(lambda: stage.is_trusted("a.test"), "the first certificate", seconds=60, pause=0.2)
    before = stage.layout.live("a.test").readlink()
    ran = certedge(stage.edge.folder, "cert", "request", "a.test", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["outcome"] == "done"
    assert stage.layout.live("a.test").readlink() != before
    wait_for(
        lambda: stage.edge.fingerprint("https", "a.test") == ran.json["fingerprint"], "the new certificate is served"
    )


def test_main_certificate_is_ordered_too(stage: Stage) -> None:
    ran = certedge(stage.edge.folder, "site", "set", "main", "--certificate", "acme")
    assert ran.code == 0, ran.err
    wait_for(lambda: stage.is_trusted("edge.test"), "the main certificate is Pebble's", seconds=60, pause=0.2)


def test_drops_are_taken_in_while_orders_wait_for_a_ca_that_is_down(stage: Stage) -> None:
    stage.pebble.stop()
    certedge(stage.edge.folder, "site", "add", "a.test", "--certificate", "acme")
    shown = wait_for(
        lambda: (
            "ca_unreachable" in Path(stage.layout.records("a.test")).read_text()
            if stage.layout.records("a.test").exists()
            else False
        ),
        "the failure is on record",
        seconds=30,
    )
    assert shown
    ran = certedge(stage.edge.folder, "site", "add", "b.test")
    assert ran.code == 0, ran.err


# One port closed, or both: the preflight can't tell, as all is on loopback, and the CA can


def add(stage: Stage, site: str = "a.test", *words: str) -> None:
    ran = certedge(stage.edge.folder, "site", "add", site, "--certificate", "acme", *words)
    assert ran.code == 0, ran.err


def ways(stage: Stage, site: str = "a.test") -> dict[str, str]:
    """How each name was proven, as control has noted it."""
    state: RenewalState = FRESH
    for line in stage.layout.renewals.read_text().splitlines():
        key, facts = json.loads(line)
        state = RenewalState.from_json(facts) if key == site else state
    return {each.name: each.way for each in state.ways}


def proofs(stage: Stage) -> list[Path]:
    return [*stage.layout.challenges.iterdir(), *stage.layout.alpn_challenges.iterdir()]


@pytest.mark.parametrize(
    ("open_ports", "challenges", "way"),
    [
        ((443,), None, "tls-alpn-01"),
        ((80,), None, "http-01"),
        ((80,), ["tls-alpn-01", "http-01"], "http-01"),
        ((80, 443), ["tls-alpn-01"], "tls-alpn-01"),
    ],
    ids=["80 closed", "443 closed", "443 closed, and asked for first", "both open, TLS alone allowed"],
)
def test_name_is_proven_by_the_port_that_is_open(
    tmp_path: Path, open_ports: tuple[int, ...], challenges: list[str] | None, way: str
) -> None:
    with edge_and_pebble(tmp_path, open_ports=open_ports, challenges=challenges) as stage:
        add(stage, "a.test", "--name", "www.a.test")
        wait_for(lambda: stage.is_trusted("www.a.test"), "a certificate of Pebble's", seconds=60, pause=0.2)
        assert ways(stage) == {"a.test": way, "www.a.test": way}
        assert proofs(stage) == []


def test_both_ports_closed_are_a_failure_that_names_both_ways(tmp_path: Path) -> None:
    with edge_and_pebble(tmp_path, open_ports=()) as stage:
        add(stage)
        wait_for(lambda: stage.layout.renewals.exists() and ways(stage), "an attempt has ended", seconds=60)
        assert stage.pebble.orders() == 2, "each way had its order"
        assert not stage.is_trusted("a.test")
        assert proofs(stage) == []
        shown = certedge(stage.edge.folder, "site", "show", "a.test", "--json")
        assert any(each["code"] == "order_failed" for each in shown.json["problems"])


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", "127.0.0.2/32"], ids=["with a self-check", "only the proxy"])
def test_name_is_proven_over_tls_behind_a_proxy(tmp_path: Path, trusted: str) -> None:
    with edge_and_pebble(tmp_path, open_ports=(443,), behind=trusted, challenges=["tls-alpn-01"]) as stage:
        add(stage)
        wait_for(lambda: stage.layout.live("a.test").is_symlink(), "a certificate of Pebble's", seconds=60, pause=0.2)
        assert ways(stage) == {"a.test": "tls-alpn-01"}


@contextmanager
def proxy_v1_in_front_of(port: int) -> Iterator[int]:
    """A load balancer at 127.0.0.2 that passes bytes on behind a PROXY header."""
    listening = listening_socket()

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                client, address = listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.2", 0))
            client.settimeout(20)
            server.settimeout(20)
            with client, server:
                server.sendall(b"PROXY TCP4 203.0.113.9 127.0.0.1 %d 443\r\n" % address[1])
                back = threading.Thread(target=pass_on, args=(server, client))
                back.start()
                pass_on(client, server)
                back.join()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
