"""Connections are shared evenly among the workers, and no client waits for a worker that does not accept."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.running import RunningEdge, running_edge


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[RunningEdge]:
    settings = {"listeners": [{"kind": "http"}], "workers": 2}
    with running_edge(tmp_path, settings, {"main": CertificateAuthority().issue("edge.test")}) as edge:
        yield edge


@contextmanager
def open_connections(edge: RunningEdge, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        connect = socket.create_connection
        yield [stack.enter_context(connect(("127.0.0.1", edge.port("http")), timeout=60)) for _ in range(count)]


def connections_by_worker(edge: RunningEdge) -> list[int]:
    """Open client connections of each worker."""
    port = edge.port("http")
    return [
        sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in psutil.Process(pid).net_connections())
        for pid in edge.worker_pids()
    ]


def test_a_burst_of_kept_connections_is_shared(edge: RunningEdge) -> None:
    """Other load on a processor may spoil a burst; without the balance nearly all of each go to one worker."""
    shares = []
    for _ in range(15):
        with open_connections(edge, 64):
            wait_for(lambda: sum(connections_by_worker(edge)) == 64, "all are accepted")
            shares.append(min(connections_by_worker(edge)))
        wait_for(lambda: sum(connections_by_worker(edge)) == 0, "all have ended")
        if shares[-1] >= 20:
            return
    pytest.fail(f"the smaller shares of 64: {shares}")


def test_no_client_waits_for_a_stopped_worker(edge: RunningEdge) -> None:
    still = edge.worker_pids()[0]
    os.kill(still, signal.SIGSTOP)
    try:
        with open_connections(edge, 40) as clients:
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 301 ")
    finally:
        os.kill(still, signal.SIGCONT)
