"""Certificates replaced under load: no handshake sees an incomplete pair, and no open connection notices."""

import hashlib
import os
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.ports import listening_socket
from tests.running import RunningEdge, drop_certificate, running_edge, write_site

CA = CertificateAuthority()
SECONDS = float(os.environ.get("TORN_DROP_SECONDS", "30"))
SITES = ("a.test", "b.test")


class EchoUpstream(threading.Thread):
    """A web server that answers every request with its target, and echoes bytes after an upgrade."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = listening_socket()
        self.port = self._listener.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            while request := lines.readline():
                headers = []
                while (line := lines.readline()) not in (b"\r\n", b""):
                    headers.append(line.lower())
                if any(line.startswith(b"upgrade:") for line in headers):
                    peer.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                    )
                    while data := lines.read1(65536):
                        peer.sendall(data)
                    return
                body = request.split()[1]
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def upstream() -> Iterator[EchoUpstream]:
    server = EchoUpstream()
    yield server
    server.close()


@pytest.fixture
def edge(tmp_path: Path, upstream: EchoUpstream) -> Iterator[RunningEdge]:
    settings = {
        "listeners": [{"kind": "https"}],
        "upstream": f"http://127.0.0.1:{upstream.port}",
        "workers": 2,
        "limits": {"connections_per_address": 1000},
    }
    sites = {"main": CA.issue("edge.test"), **{site: CA.issue(site) for site in SITES}}
    with running_edge(tmp_path, settings, sites) as running:
        yield running


def connect(edge: RunningEdge, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    plain = socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)
    return context.wrap_socket(plain, server_hostname=name)


class TornWriter(threading.Thread):
    """Rewrites one site's drop in place: a few bytes at a time, key and chain in any order, with random pauses."""

    def __init__(self, store: Path, site: str, until: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.complete: set[str] = set()
        self.rounds = 0
        self._folder = Layout(store).drop_folder(site)
        self._site = site
        self._until = until
        self._random = random.Random(seed)
        self._pool = [CA.issue(site) for _ in range(20)]

    def run(self) -> None:
        while time.monotonic() < self._until:
            issued = self._random.choice(self._pool)
            files = [("privkey.pem", issued.privkey_pem), ("fullchain.pem", issued.fullchain_pem)]
            self._random.shuffle(files)
            self.complete.add(issued.fingerprint)  # complete from its last byte on; noted before that is written
            for name, content in files:
                with (self._folder / name).open("wb", buffering=0) as file:
                    while content:
                        size = self._random.randrange(1, 700)
                        file.write(content[:size])
                        content = content[size:]
                        if self._random.random() < 0.2:
                            time.sleep(self._random.choice((0.001, 0.02, 0.08)))
            self.rounds += 1
            time.sleep(self._random.choice((0, 0.05, 0.3)))


@pytest.mark.timeout(SECONDS + 120)
def test_every_handshake_during_incomplete_drops_gets_a_complete_pair(edge: RunningEdge) -> None:
    first = {site: edge.fingerprint("https", site) for site in SITES}
    until = time.monotonic() + SECONDS
    writers = {site: TornWriter(edge.store, site, until, seed) for seed, site in enumerate(SITES)}
    for writer in writers.values():
        writer.start()
    seen: dict[str, Counter[str]] = {site: Counter() for site in SITES}
    while time.monotonic() < until:
        for site in SITES:
            with connect(edge, site) as secure:  # verifies the chain: a missing intermediate would fail here
                leaf = secure.getpeercert(binary_form=True)
                assert leaf is not None

                seen[site][hashlib.sha256(leaf).hexdigest()] += 1
    for site, writer in writers.items():
        writer.join()
        assert set(seen[site]) <= writer.complete | {first[site]}
        assert len(seen[site]) > 2, "new certificates did come into use meanwhile"
        assert writer.rounds > SECONDS / 5
    last: dict[str, Issued] = {site: CA.issue(site) for site in SITES}
    for site, issued in last.items():
        drop_certificate(edge.store, site, issued)
        wait_for(
            lambda site=site, issued=issued: edge.fingerprint("https", site) == issued.fingerprint,  # type: ignore[misc]
            f"{site}: a complete drop after the incomplete ones is served",
        )


def test_a_hundred_drops_disturb_no_open_connection(edge: RunningEdge) -> None:
    """200 keep-alive connections answer before, during and after the drops; a tunnel echoes all the time."""
    connections = [connect(edge, SITES[index % 2]) for index in range(200)]
    tunnel = connect(edge, "a.test")
    tunnel.sendall(
        b"GET /tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += tunnel.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")

    answered = 0
    for number in range(100):
        site = SITES[number % 2]
        issued = CA.issue(site)
        drop_certificate(edge.store, site, issued)
        for index in range(number % 10, 200, 10):
            target = b"/%d-%d" % (number, index)
            host = SITES[index % 2].encode()
            connections[index].sendall(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host))
            assert read_answer(connections[index]) == target
            answered += 1
        tunnel.sendall(b"message %03d" % number)
        assert tunnel.recv(4096) == b"message %03d" % number
        wait_for(
            lambda site=site, issued=issued: edge.fingerprint("https", site) == issued.fingerprint,  # type: ignore[misc]
            f"drop {number} is served",
        )

    assert answered == 2000
    for connection in (*connections, tunnel):
        connection.close()


def read_answer(connection: ssl.SSLSocket) -> bytes:
    """The body of one answer with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        assert data, "the connection was closed"
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return body


def test_drops_present_before_the_first_start_are_served_to_the_first_client(tmp_path: Path) -> None:
    """No client gets the main certificate only because the first scan was not complete."""
    main, certificates = CA.issue("edge.test"), {f"s{number}.test": CA.issue(f"s{number}.test") for number in range(50)}
    for site, issued in {"main": main, **certificates}.items():
        write_site(tmp_path / "store", site, issued)

    with running_edge(tmp_path, {"listeners": [{"kind": "https"}]}) as edge:
        served = {site: edge.fingerprint("https", site) for site in certificates}

    assert served == {site: issued.fingerprint for site, issued in certificates.items()}
