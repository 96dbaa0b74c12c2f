"""What load balancers get from a health listener; processes/test_drain.py tests the 503 of a drain."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from certstore.model.settings.cluster import ClusterSettings
from certstore.model.unloadable import Unloadable
from edge_addon.listeners.health import HealthSession
from edge_addon.transport.channel import Channel
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.running import RunningEdge, running_edge


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    settings = {"listeners": [{"kind": "health"}], "limits": {"head_seconds": 1}}
    with running_edge(tmp_path_factory.mktemp("health"), settings) as running:
        yield running


def _exchange(edge: RunningEdge, *parts: bytes) -> bytes:
    """Everything that comes back until the edge closes the connection."""
    with socket.create_connection(("127.0.0.1", edge.port("health")), timeout=60) as peer:
        for part in parts:
            peer.sendall(part)
        answer = b""
        try:
            while data := peer.recv(65536):
                answer += data
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"GET /healthz HTTP/1.1\r\nHost: edge.test\r\n\r\n"], id="a browser"),
        pytest.param([b"OPTIONS / HTTP/1.0\r\n\r\n"], id="HAProxy's option httpchk"),
        pytest.param([b"GET / HTTP/1.0\n\n"], id="a script with bare line feeds"),
        pytest.param([b"GET / HT", b"TP/1.1\r\n\r", b"\n"], id="in pieces"),
    ],
)
def test_any_request_gets_a_200(edge: RunningEdge, parts: list[bytes]) -> None:
    answer = _exchange(edge, *parts)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nserving\n")


def test_head_gets_no_body(edge: RunningEdge) -> None:
    answer = _exchange(edge, b"HEAD / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
    assert b"Content-Length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "parts", [pytest.param([b"x" * 9000], id="endless"), pytest.param([b"GET / HTTP/1.1\r\n"], id="unfinished in time")]
)
def test_anything_but_a_request_is_closed_without_an_answer(edge: RunningEdge, parts: list[bytes]) -> None:
    assert _exchange(edge, *parts) == b""


def test_a_check_of_the_port_alone_is_accepted(edge: RunningEdge) -> None:
    for _ in range(3):
        socket.create_connection(("127.0.0.1", edge.port("health")), timeout=60).close()
    assert _exchange(edge, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("is_member", [True, False])
@in_loop
async def test_a_node_that_joins_a_cluster_wants_nobody_yet(is_member: bool, tmp_path: Path) -> None:
    """Of a node alone, what an earlier cluster left does not count."""
    cluster = {"engine": ["https://127.0.0.1:2379"], "ca_file": "ca.pem", "client_cert": "client.pem"}
    async with relay_edge(tmp_path, "http://127.0.0.1:1") as edge:
        if is_member:
            settings = edge.plane.settings.model_copy(update={"cluster": ClusterSettings.model_validate(cluster)})
            edge.plane.settings = settings
        edge.plane.layout.worker_reports.mkdir(parents=True, exist_ok=True)
        edge.plane.layout.joining.touch()
        written: list[bytes] = []
        channel = SimpleNamespace(write=written.append, close=lambda: None, abort=lambda: None)
        HealthSession(cast(Channel, channel), edge.plane).data_received(b"GET / HTTP/1.1\r\n\r\n")
    status, words = (b"503", b"joining the cluster\n") if is_member else (b"200", b"serving\n")
    assert b"".join(written).startswith(b"HTTP/1.1 " + status)
    assert b"".join(written).endswith(words)


@pytest.mark.parametrize(
    ("lost", "status", "words"),
    [
        ([], b"200 OK", b"serving\n"),
        ([Unloadable("a.test", 1, "x", None)], b"200 OK", b"serving\nversion 1 of a.test"),
        ([Unloadable("main", 2, "x", 1)], b"200 OK", b"serving\nversion 2 of main"),
        ([Unloadable("main", 1, "x", None)], b"503 Service Unavailable", b"no main certificate\nversion 1 of main"),
        ([Unloadable(f"{n}.test", 1, "x", 2) for n in range(999)], b"200 OK", b"serving\nversion 1 of 0.test"),
    ],
    ids=["nothing", "a site", "main, with another version", "main as a whole", "many sites"],
)
@in_loop
async def test_what_can_not_be_loaded_is_told(
    lost: list[Unloadable], status: bytes, words: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay_edge(tmp_path, "http://127.0.0.1:1") as edge:
        monkeypatch.setattr(edge.plane, "unloadable", lambda: lost)
        written: list[bytes] = []
        channel = SimpleNamespace(write=written.append, close=lambda: None, abort=lambda: None)
        HealthSession(cast(Channel, channel), edge.plane).data_received(b"GET / HTTP/1.1\r\n\r\n")
    head, _, body = b"".join(written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert body.startswith(words)
    assert body.count(b"\n") <= 11
