"""Bytes both ways between a client's channel and an upstream's transport, once both have agreed on an upgrade.

The edge reads each side only as fast as the other one takes the bytes, and passes the end of one side on as an end. The
tunnel is over when both have ended, when either breaks, or when nothing has moved for the idle limit. The limit is
shorter after the client's end, and while a side takes no bytes: the other side is not read from then, so the edge would
not notice that it has gone. Knows nothing of WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

from edge_addon.http.limits import HALF_CLOSED_SECONDS, STALL_SECONDS
from edge_addon.transport.tcp import close_with_deadline
from edge_addon.transport.timers import Timer
from edge_addon.upstream.connection import UpgradedConnection


class ClientEnd(Protocol):
    """The client's side of a tunnel: a whole channel, or one stream of an HTTP/2 connection."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass(slots=True, eq=False, repr=False)
class Tunnel(asyncio.Protocol):
    """The protocol of the upstream's transport after the upgrade; the session calls `client_…` for its own events."""

    _channel: ClientEnd
    _connection: UpgradedConnection
    _timer: Timer
    _idle_seconds: float
    _on_end: Callable[[str], None]
    _: KW_ONLY
    bytes_in: int = 0
    bytes_out: int = 0
    _client_ended: bool = False
    _is_client_full: bool = False
    _is_over: bool = False
    _is_upstream_full: bool = False
    _transport: asyncio.Transport = field(init=False)

    def start(self, from_upstream: bytes, from_client: bytes) -> None:
        """Take over the transport; the bytes are those that either side sent right behind the upgrade."""
        self._transport = self._connection.transport
        self._transport.set_protocol(self)
        self._moved()
        if from_upstream:
            self.data_received(from_upstream)
        if from_client:
            self.client_data(from_client)

    # From the client.

    def client_data(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._transport.write(data)
        self._moved()

    def client_ended(self) -> None:
        """Note that the client sends no more. An upstream that can't be half closed (TLS) is closed."""
        self._client_ended = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._moved()
        else:
            self._end("done")

    def client_lost(self) -> None:
        self._end("client_gone")

    def client_full(self) -> None:
        if not self._is_over:
            self._is_client_full = True
            self._transport.pause_reading()
            self._moved()

    def client_drained(self) -> None:
        if not self._is_over:
            self._is_client_full = False
            self._transport.resume_reading()
            self._moved()

    # From the upstream.

    def data_received(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._channel.write(data)
        self._moved()

    def eof_received(self) -> bool:
        """End the tunnel: a client's channel can't be half closed."""
        self._end("done")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("done" if exc is None else "upstream_gone")

    def pause_writing(self) -> None:
        self._is_upstream_full = True
        self._channel.pause_reading()
        self._moved()

    def resume_writing(self) -> None:
        self._is_upstream_full = False
        self._channel.resume_reading()
        self._moved()

    # The end.

    def _moved(self) -> None:
        if not self._is_over:
            self._timer.set(min(self._idle_seconds, self._limit()), self._idled)

    def _limit(self) -> float:
        if self._client_ended:
            return HALF_CLOSED_SECONDS
        return STALL_SECONDS if self._is_client_full or self._is_upstream_full else self._idle_seconds

    def _idled(self) -> None:
        self._end("idle")

    def _end(self, outcome: str) -> None:
        """Close both sides once; bytes that were written still go out."""
        if self._is_over:
            return
        self._is_over = True
        self._timer.cancel()
        close_with_deadline(self._transport)
        self._connection.tunnel_ended()
        self._channel.close()
        self._on_end(outcome)
