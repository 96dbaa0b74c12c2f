"""A TCP relay in front of a server on loopback, which can hold what passes: late requests, lost answers, silence.

    with Relay(port) as relay:
        relay.port, relay.hold_requests(), relay.hold_answers(), relay.release()

What is held is kept, and delivered by `release`: also from a client that has given up and closed meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Relay:
    """To 127.0.0.1:`target`, which may be changed for later connections."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._waiting: set[int] = set()
        self._requests, self._answers = threading.Event(), threading.Event()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.release()

    @property
    def is_holding(self) -> bool:
        """Whether something waits for `release`."""
        return bool(self._waiting)

    def hold_requests(self) -> None:
        """From now on nothing reaches the server; clients notice nothing."""
        self._requests.clear()

    def hold_answers(self) -> None:
        """From now on nothing reaches the clients; the server notices nothing."""
        self._answers.clear()

    def release(self) -> None:
        """Deliver everything."""
        self._requests.set()
        self._answers.set()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._connections):
            each.close()

    def _start(self, act: object, *words: object) -> None:
        thread = threading.Thread(target=act, args=words, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connections.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:  # nobody is there now
                    client.close()
                    continue
                self._connections.append(server)
                self._start(self._pass_on, client, server, self._requests)
                self._start(self._pass_on, server, client, self._answers)

    def _pass_on(self, source: socket.socket, target: socket.socket, may_pass: threading.Event) -> None:
        was_held = False
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                was_held = was_held or not may_pass.is_set()
                self._waiting.add(threading.get_ident())
                may_pass.wait()
                target.sendall(content)
                self._waiting.discard(threading.get_ident())
        self._waiting.discard(threading.get_ident())
        if not was_held:  # as in a network that lost the sign of the end: the other side still waits for more
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
