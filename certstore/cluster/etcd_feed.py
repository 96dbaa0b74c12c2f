"""Follows changes at one etcd member: a thread reads the gateway's stream by lines and puts whole revisions in order.

The stream of an idle engine is silent, and so is that of one that is paused or cut off: whether the member still lives
is for its user to ask (`session`), who then closes the feed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from urllib3.connection import HTTPSConnection
from urllib3.response import HTTPResponse

from certstore.cluster.engine import Batch, EngineFailed, EngineLost
from certstore.cluster.etcd_answers import LINE_BYTES, Revisions, lines_of, message_of
from certstore.cluster.etcd_gateway import FAILURES, Gateway, named_failure, understood
from certstore.net.bounded_http import Deadline, reason_of

_OPEN_SECONDS = 4.0
_MOST_WAITING = 16
"""Batches that nobody has taken yet. Beyond them the member waits, not we."""
_CHUNK = 65_536
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class EtcdFollowing:
    """See `Following`. With `broken`, the first `next` raises it."""

    def __init__(
        self, gateway: Gateway, request: Mapping[str, Any], after: int, broken: EngineFailed | None = None
    ) -> None:
        self._endpoint = gateway.endpoint
        self._changed = threading.Condition()
        self._waiting: deque[Batch] = deque()
        self._broken = broken
        self._revisions = Revisions(after)
        self._second: socket.socket | None = None
        self._connection: HTTPSConnection | None = None
        self._reader: threading.Thread | None = None
        self.is_closed = False
        if broken is None:
            response = self._open(gateway, request)
            self._reader = threading.Thread(target=self._read, args=(response,), name="engine-feed", daemon=True)
            self._reader.start()

    def next(self, timeout: float) -> Batch | None:
        until = time.monotonic() + timeout
        with self._changed:
            while not self._waiting:
                if self._broken is not None:
                    raise self._broken
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            self._changed.notify_all()
            return self._waiting.popleft()

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._broken = self._broken or EngineLost(f"{self._endpoint}: the feed was closed")
            self._waiting.clear()
            self._changed.notify_all()
            if self._second is not None:
                with contextlib.suppress(OSError):
                    self._second.shutdown(socket.SHUT_RDWR)
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the reading thread -------------------------------------------------------------------------------------------

    def _open(self, gateway: Gateway, request: Mapping[str, Any]) -> HTTPResponse:
        connection = self._connection = gateway.connection()
        connection.socket_options = [*HTTPSConnection.default_socket_options, *_KEEP_ALIVE]
        try:
            with Deadline(_OPEN_SECONDS) as deadline:
                try:
                    response = self._ask(connection, gateway, request)
                    body = b"" if response.status == 200 else response.read(_CHUNK, decode_content=False)
                except FAILURES as error:
                    raise named_failure(self._endpoint, error, _OPEN_SECONDS, is_slow=deadline.is_over) from None
                if deadline.is_over:
                    raise named_failure(self._endpoint, TimeoutError(), _OPEN_SECONDS, is_slow=True)
            if response.status != 200:
                understood(self._endpoint, response.status, body)
            if connection.sock is not None:
                connection.sock.settimeout(None)
        except BaseException:
            self._close_connection()
            raise
        return response

    def _ask(self, connection: HTTPSConnection, gateway: Gateway, request: Mapping[str, Any]) -> HTTPResponse:
        content = json.dumps(request).encode()
        connection.request("POST", "/v3/watch", content, gateway.headers(), preload_content=False)
        # TLS can't be shut down while another thread reads; a second descriptor of the connection can.
        self._second = socket.socket(fileno=os.dup(connection.sock.fileno()))
        return connection.getresponse()

    def _read(self, response: HTTPResponse) -> None:
        broken: EngineFailed = EngineLost(f"{self._endpoint}: the member ended the feed")
        try:
            for line in lines_of(response.stream(_CHUNK, decode_content=False), LINE_BYTES):
                for batch in self._revisions.take(message_of(self._endpoint, line)):
                    if not self._put(batch):
                        return
        except EngineFailed as error:
            broken = error
        except FAILURES as error:
            broken = EngineLost(f"{self._endpoint}: the feed broke: {reason_of(error)}")
        finally:
            with self._changed:
                self._broken = self._broken or broken
                self._changed.notify_all()
            response.close()
            self._close_connection()

    def _put(self, batch: Batch) -> bool:
        """Whether the feed is still wanted."""
        with self._changed:
            while len(self._waiting) >= _MOST_WAITING and not self.is_closed:
                self._changed.wait()
            if not self.is_closed:
                self._waiting.append(batch)
                self._changed.notify_all()
            return not self.is_closed

    def _close_connection(self) -> None:
        with self._changed:
            if self._second is not None:
                self._second.close()
                self._second = None
        if self._connection is not None:
            self._connection.close()
