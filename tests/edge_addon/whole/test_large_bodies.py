"""Two gigabytes each way through a worker: complete, and without the worker growing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.ports import listening_socket
from tests.running import running_edge

SIZE = 2 * 2**30
BLOCK = bytes(2**20)
GROWTH = 16 * 2**20
"""The memory that buffers between two sockets, and the allocator, may use."""


def count(peer: socket.socket, size: int) -> int:
    """Read up to `size` bytes or to the end; returns how many there were."""
    seen = 0
    while seen < size and (data := peer.recv(2**20)):
        seen += len(data)
    return seen


def read_head(peer: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


@contextmanager
def web_server() -> Iterator[tuple[str, list[int]]]:
    """Answers GET with SIZE bytes, and notes the size of the body of a POST."""
    noted: list[int] = []
    with listening_socket() as listener:

        def serve() -> None:
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(60)
                    head, rest = read_head(peer)
                    if head.startswith(b"GET "):
                        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % SIZE)
                        for _ in range(SIZE // len(BLOCK)):
                            peer.sendall(BLOCK)
                    else:
                        noted.append(len(rest) + count(peer, SIZE - len(rest)))
                        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", noted
        thread.join(60)


@pytest.mark.slow
def test_two_gigabytes_pass_both_ways_in_constant_memory(tmp_path: Path) -> None:
    with web_server() as (url, noted):
        settings = {"listeners": [{"kind": "http"}], "upstream": url, "http": {"redirect_to_https": False}}
        with running_edge(tmp_path, settings) as edge:
            worker = psutil.Process(edge.worker_pids()[0])
            before = worker.memory_info().rss
            with socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                _, rest = read_head(client)
                assert len(rest) + count(client, SIZE - len(rest)) == SIZE
                assert worker.memory_info().rss - before < GROWTH
            with socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: %d\r\n\r\n" % SIZE)
                for _ in range(SIZE // len(BLOCK)):
                    client.sendall(BLOCK)
                assert read_head(client)[0].startswith(b"HTTP/1.1 200 ")
                assert worker.memory_info().rss - before < GROWTH
    assert noted == [SIZE]
