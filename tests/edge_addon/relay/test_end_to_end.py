"""The relay inside `certedge run`: TLS in front, a real nginx or a recorder behind, curl and raw sockets as clients."""

import hashlib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.edge_addon.relay.test_hostile_requests import HOSTILE
from tests.peers import require_peer
from tests.peers.nginx import Nginx
from tests.peers.recorder import Connection, Recorder, answering, ok
from tests.running import MAIN_HOST, RunningEdge, Site, running_edge

CA = CertificateAuthority()
LISTENERS = [{"kind": "https"}, {"kind": "http"}]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder(answering(ok())) as running:
        yield running


@pytest.fixture(scope="module")
def edge(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    sites: dict[str, Issued | Site] = {
        "main": Site(CA.issue(MAIN_HOST), {"host": MAIN_HOST}),
        "a.test": CA.issue("a.test"),
        "b.test": CA.issue("b.test"),
    }
    folder = tmp_path_factory.mktemp("edge")
    with running_edge(folder, {"listeners": LISTENERS, "upstream": recorder.url}, sites) as running:
        yield running


def site_edge(folder: Path, upstream: str) -> AbstractContextManager[RunningEdge]:
    """Run an edge with one site for this test."""
    return running_edge(folder, {"listeners": LISTENERS, "upstream": upstream}, {"a.test": CA.issue("a.test")})


def connect(edge: RunningEdge, server_name: str) -> ssl.SSLSocket:
    """Make a context that verifies as a browser does."""
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    plain = socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)
    try:
        return context.wrap_socket(plain, server_hostname=server_name)
    except BaseException:
        plain.close()
        raise


def talk(edge: RunningEdge, server_name: str, data: bytes) -> bytes:
    """Return everything until the edge closes the connection."""
    got = b""
    with connect(edge, server_name) as client:
        client.sendall(data)
        while received := client.recv(65536):
            got += received
    return got


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_over_tls_is_refused_and_reaches_nobody(
    name: str, edge: RunningEdge, recorder: Recorder
) -> None:
    request, status, _ = HOSTILE[name]
    before = len(recorder.received)
    got = talk(edge, "a.test", request)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert got.count(b"HTTP/1.1 ") == 1
    assert len(recorder.received) == before


def test_request_over_tls_arrives_with_its_origin(edge: RunningEdge, recorder: Recorder) -> None:
    request = b"GET /x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nConnection: close\r\n\r\n"
    assert talk(edge, "a.test", request).endswith(b"\r\n\r\nok")
    head = recorder.received[recorder.received.rindex(b"GET /x ") :]
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"\r\nX-Forwarded-Port: %d\r\n" % edge.port("https") in head
    assert b"\r\nHost: a.test\r\n" in head


def test_other_sites_host_on_a_sites_connection_is_misdirected(edge: RunningEdge) -> None:
    request = b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
    assert talk(edge, "a.test", request % b"b.test").startswith(b"HTTP/1.1 421 ")
    assert talk(edge, "b.test", request % b"b.test").startswith(b"HTTP/1.1 200 ")


def test_challenge_is_answered_on_both_ports_and_the_rest_of_port_80_redirected(edge: RunningEdge) -> None:
    curl = str(require_peer("curl"))
    token = "t" * 43
    challenges = Layout(edge.store).challenges
    challenges.mkdir(exist_ok=True)
    (challenges / token).write_text(f"{token}.thumbprint")

    def get(*arguments: str) -> str:
        return subprocess.run([curl, "-sS", *arguments], capture_output=True, check=True, text=True).stdout

    http, https = edge.port("http"), edge.port("https")
    path = f"/.well-known/acme-challenge/{token}"
    assert get(f"http://127.0.0.1:{http}{path}", "-H", "Host: a.test") == f"{token}.thumbprint"
    # As a validator, which follows redirects to https without checking the certificate there.
    resolve = ("--resolve", f"a.test:{https}:127.0.0.1", "--insecure")
    assert get(*resolve, f"https://a.test:{https}{path}") == f"{token}.thumbprint"
    got = get(
        "-o", os.devnull, "-w", "%{http_code} %{redirect_url}", "-H", "Host: a.test", f"http://127.0.0.1:{http}/x"
    )
    assert got == f"301 https://a.test:{https}/x"


@pytest.mark.peer
def test_files_go_up_and_down_over_tls_unchanged(tmp_path: Path) -> None:
    curl = str(require_peer("curl"))
    sent, root = tmp_path / "sent", tmp_path / "ca.pem"
    sent.write_bytes(os.urandom(30_000_001))
    root.write_bytes(CA.root_pem)
    with (
        Nginx() as nginx,
        running_edge(
            tmp_path, {"listeners": LISTENERS, "upstream": nginx.unix_url}, {"a.test": CA.issue("a.test")}
        ) as edge,
    ):
        port = edge.port("https")
        common = [curl, "-sS", "--fail", "--cacert", str(root), "--resolve", f"a.test:{port}:127.0.0.1"]
        url = f"https://a.test:{port}/files/file"
        subprocess.run([*common, "-T", str(sent), url], check=True)
        assert (nginx.root / "file").read_bytes() == sent.read_bytes()
        subprocess.run([*common, "-o", str(tmp_path / "got"), url], check=True)
        assert (tmp_path / "got").read_bytes() == sent.read_bytes()


@pytest.mark.slow
def test_upload_of_two_gigabytes_leaves_the_workers_memory_flat(tmp_path: Path) -> None:
    size, piece = 2 << 30, os.urandom(1 << 20)
    digests = {}

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        digest, left = hashlib.sha256(), size
        while left:
            data = await connection.read()
            connection.received.clear()
            digest.update(data)
            left -= len(data)
        digests["received"] = digest.hexdigest()
        await connection.write(ok())

    with (
        Recorder(handle) as recorder,
        running_edge(
            tmp_path, {"listeners": LISTENERS, "upstream": recorder.url}, {"a.test": CA.issue("a.test")}
        ) as edge,
    ):
        worker = psutil.Process(edge.worker_pids()[0])
        with connect(edge, "a.test") as client:
            before = worker.memory_info().rss
            client.sendall(b"PUT / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            digest, highest = hashlib.sha256(), 0
            for _ in range(size // len(piece)):
                client.sendall(piece)
                digest.update(piece)
                highest = max(highest, worker.memory_info().rss)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert digests["received"] == digest.hexdigest()
        assert highest - before < 16 << 20


def test_draining_worker_finishes_the_answer_under_way(tmp_path: Path) -> None:
    """SIGTERM in the middle of a download: the whole body arrives."""

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await connection.read_until(b".")
        await connection.write(b" last")

    with (
        Recorder(handle) as recorder,
        running_edge(
            tmp_path, {"listeners": LISTENERS, "upstream": recorder.url}, {"a.test": CA.issue("a.test")}
        ) as edge,
    ):
        with connect(edge, "a.test") as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n")
            got = b""
            while not got.endswith(b"first"):
                got += client.recv(65536)
            edge.process.terminate()
            wait_for(lambda: _refuses(edge.port("https")), "no more connections taken")
            client.sendall(b".")
            while data := client.recv(65536):
                got += data
            assert got.endswith(b"\r\n\r\nfirst last")
        assert edge.wait() == 0


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False
