"""Clients and a slow web server for tests that start and stop processes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import psutil

from tests.deadlines import wait_for
from tests.ports import listening_socket
from tests.running import RunningEdge

REQUEST = b"GET /some/page HTTP/1.1\r\nHost: edge.test\r\n\r\n"


class Client:
    """One keep-alive connection to a clear-text listener, which answers every request with a redirect."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=60)
        self.port = self.socket.getsockname()[1]

    def ask(self) -> bytes:
        self.socket.sendall(REQUEST)
        return self.read_answer()

    def read_answer(self) -> bytes:
        """Status line and header lines; empty when the connection has ended."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.socket.recv(65536)
            if not data:
                return b""
            answer += data
        return answer

    def is_served(self) -> bool:
        return self.ask().startswith((b"HTTP/1.1 301", b"HTTP/1.1 308"))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class SlowUpstream:
    """A web server that answers only after `release` is set."""

    def __init__(self) -> None:
        self._listener = listening_socket()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.release = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(30)
            peer.recv(65536)
            self.asked.set()
            self.release.wait(30)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")

    def __enter__(self) -> SlowUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def peer_ports(pid: int) -> set[int]:
    """The peer ports of the process's connections; a listening socket has no peer."""
    return {getattr(each.raddr, "port", 0) for each in psutil.Process(pid).net_connections("tcp")}


def holder(edge: RunningEdge, client: Client) -> int:
    """The worker that serves this client."""
    for pid in edge.worker_pids():
        if client.port in peer_ports(pid):
            return pid
    raise AssertionError("no worker has the connection")


@contextlib.contextmanager
def one_client_per_worker(edge: RunningEdge) -> Iterator[dict[int, Client]]:
    """Connect until every worker serves a client."""
    clients: dict[int, Client] = {}
    every: list[Client] = []

    def all_have_one() -> bool:
        client = Client(edge.port("http"))
        every.append(client)
        assert client.is_served()
        clients.setdefault(holder(edge, client), client)
        return len(clients) == len(edge.worker_pids())

    try:
        wait_for(all_have_one, "a connection on every worker", pause=0)
        yield clients
    finally:
        for client in every:
            client.socket.close()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
