"""A server that accepts every connection and then sends a byte now and then, without end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def tarpit(port: int, host: str = "127.0.0.5", *, greeting: bytes = b"HTTP/1.1 200 OK\r\nX: ") -> Iterator[None]:
    """Accepts every connection and sends a byte now and then, until it is closed."""
    stop, threads = threading.Event(), list[threading.Thread]()

    def drip(connected: socket.socket) -> None:
        with connected, contextlib.suppress(OSError):
            connected.sendall(greeting)
            while not stop.wait(0.05):
                connected.sendall(b"a")

    with socket.create_server((host, port), backlog=100) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=drip, args=[listener.accept()[0]]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in threads:
                each.join()
