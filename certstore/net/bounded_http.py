"""HTTP with answers that are bounded in time and size as a whole, for `requests` and for `http.client`.

The libraries' timeout applies to each single read, so a server that sends a byte now and then could hold a thread
without end, in the handshake, the head or the body. Knows nothing of ACME.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import threading
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

ANSWER_SECONDS = 60.0
"""From connecting to the last byte. A working CA answers within a few seconds."""
ANSWER_BYTES = 1_000_000
"""For one decoded body. The longest chain or directory is a fiftieth of it."""
_RETRY_SECONDS = 0.5
_CHUNK = 16_384
_REASON_LIMIT = 200
_NOISE = re.compile(r"^\[Errno -?\d+\] | \(_ssl\.c:\d+\)")


class BoundedAdapter(HTTPAdapter):
    """Raises requests' own exceptions for an answer that is too slow or too long, and closes its connection."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def close(self) -> None:
        """Close all kept connections now. The library leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  a container of urllib3 that can't be iterated
                manager.pools[key].close()
        super().close()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """The answer with its whole body, with or without `stream`."""
        with Deadline(ANSWER_SECONDS) as deadline:
            try:
                response = super().send(request, True, timeout, verify, cert, proxies)
                try:
                    body = _read(response)
                except BaseException:
                    response.close()
                    raise
            except (requests.RequestException, OSError) as error:
                if deadline.is_over:
                    raise _too_slow() from error
                raise
            if deadline.is_over:  # cut off, which a body without a length does not show
                raise _too_slow()
        response._content = body  # where requests itself keeps what it has read
        return response


def bounded(session: requests.Session) -> requests.Session:
    """The same session, with bounded answers from now on."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter())
    return session


def reason_of(error: BaseException) -> str:
    """The innermost reason in words, without the libraries' wrappers, object addresses and numbers."""
    inner = _inside(error)
    if inner is not None:
        return reason_of(inner)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error).rpartition(": ")[2]
    return " ".join(_NOISE.sub("", text).split())[:_REASON_LIMIT] or type(error).__name__


def _inside(error: BaseException) -> BaseException | None:
    given = (getattr(error, "reason", None), *error.args)
    if type(error).__module__.startswith("urllib3"):
        given = (*given, error.__cause__)  # its own text contains the connection's address
    return next((each for each in given if isinstance(each, BaseException)), None)


def _too_slow() -> requests.Timeout:
    return requests.Timeout(f"no whole answer within {ANSWER_SECONDS:g} seconds")


def _read(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_CHUNK):
        body += piece
        if len(body) > ANSWER_BYTES:
            raise requests.RequestException(f"the answer is longer than {ANSWER_BYTES} bytes")
    return bytes(body)


class Deadline:
    """Shuts down the connection of the running request when its time is over, so that a blocked read returns.

    A request over another library names its connection with `follow`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_done = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_over = False
        self._thread = threading.Thread(target=self._wait, name="answer-deadline", daemon=True)

    def __enter__(self) -> Deadline:
        self._token = _DEADLINE.set(self)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_done.set()
        self._wake.set()
        self._thread.join()
        _DEADLINE.reset(self._token)
        self._replace(None)

    def follow(self, connected: socket.socket) -> None:
        """Keep a second descriptor of the connection, as TLS and the HTTP library pass the first one on."""
        self._replace(socket.socket(fileno=os.dup(connected.fileno())))

    def end_now(self) -> None:
        """Give up before the time is over, from another thread: nobody waits for this answer any longer."""
        self._wake.set()

    def _replace(self, other: socket.socket | None) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = other

    def _wait(self) -> None:
        self._wake.wait(self._seconds)
        if self._is_done.is_set():
            return
        self.is_over = True
        while True:
            with self._lock, contextlib.suppress(OSError):
                if self._socket is not None:
                    self._socket.shutdown(socket.SHUT_RDWR)
            if self._is_done.wait(_RETRY_SECONDS):  # it may have been about to connect
                return


class AnswerTooLong(OSError):
    """The other side sent more than it may."""


class BoundedStream:
    """A connected socket as `http.client` needs it, with a bounded number of bytes to read: the library itself reads
    interim answers (1xx) without end."""

    def __init__(self, connected: socket.socket, most: int) -> None:
        self._connected = connected
        self._most = most

    def sendall(self, content: bytes) -> None:
        self._connected.sendall(content)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Limited(self._connected, self._most))

    def close(self) -> None:
        """The one who connected closes."""


class _Limited(io.RawIOBase):
    def __init__(self, connected: socket.socket, most: int) -> None:
        super().__init__()
        self._connected = connected
        self._most = self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise AnswerTooLong(f"the answer is longer than {self._most} bytes")
        count = self._connected.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


_DEADLINE: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _follow(connected: socket.socket | None) -> None:
    deadline = _DEADLINE.get()
    if deadline is not None and connected is not None:
        deadline.follow(connected)


class _Followed(HTTPConnection):
    """Tells the deadline which connection the request uses, a new one or a kept one."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _follow(connected)
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        _follow(self.sock)
        super().request(*args, **kwargs)


class FollowedConnection(_Followed, HTTPSConnection):
    """A connection over TLS, for urllib3 without `requests`: a Deadline around each of its requests bounds them."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Followed


class FollowedPool(HTTPSConnectionPool):
    """Kept connections over TLS, for urllib3 without `requests`; as `FollowedConnection`."""

    ConnectionCls = FollowedConnection


_POOLS = {"http": _Pool, "https": FollowedPool}
