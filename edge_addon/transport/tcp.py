"""What TCP does at the ends of a connection: asking after silent peers, closing, and reading what a reset left behind.

`close` waits until everything written is out. A peer that hangs takes nothing more and never ends, so its socket would
stay open for as long as it hangs: `close_with_deadline` resets it. Knows nothing of protocols.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

CLOSE_SECONDS = 30.0
"""How long a peer may take none of what is left for it."""


def close_with_deadline(transport: asyncio.WriteTransport) -> None:
    """Close once what was written is out; a peer that takes none of it for CLOSE_SECONDS is reset."""
    unsent = transport.get_write_buffer_size()
    transport.close()
    _check_later(transport, unsent)


def _check_later(transport: asyncio.WriteTransport, unsent: int) -> None:
    if unsent:
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, _check, transport, unsent)


def _check(transport: asyncio.WriteTransport, before: int) -> None:
    unsent = transport.get_write_buffer_size()
    if unsent < before:
        _check_later(transport, unsent)
    else:
        transport.abort()


KEEPALIVE_IDLE_SECONDS = 600
"""A peer that vanished without a word, by a power cut or in a NAT that forgets, is asked after (RFC 1122 §4.2.3.6).
Rarely, because each question wakes a telephone that waits for mail; a quarter of an hour until the answer is known is
still far below the idle limits of long polls and of IMAP IDLE.
"""


KEEPALIVE_INTERVAL_SECONDS = 60


KEEPALIVE_PROBES = 5


_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
)


def enable_keepalive(bound: socket.socket) -> None:
    """Turn keep-alive on for this socket; on a listening one it holds for every connection accepted there, at no cost.

    Only TCP needs it: other sockets know when their peer has gone.
    """
    if bound.family in (socket.AF_INET, socket.AF_INET6) and bound.type == socket.SOCK_STREAM:
        for level, option, value in _OPTIONS:
            bound.setsockopt(level, option, value)


def enable_keepalive_of(transport: asyncio.BaseTransport) -> None:
    if (bound := transport.get_extra_info("socket")) is not None:
        enable_keepalive(bound)


MAX_READS = 16
"""Reads of at most 64 KB each."""


def unread_data(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """What a peer sent before it broke the connection; for `connection_lost`, where the descriptor is still open.

    An event loop whose write fails gives the connection up at once, so an early answer (413, 401) of an upstream that
    closes while a body is on its way would be lost. Under TLS the transport has read it already.
    """
    if transport.get_extra_info("sslcontext") is not None:
        return
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        for _ in range(MAX_READS):
            if not (data := os.read(descriptor, 65536)):
                return
            yield data
    except OSError:
        return  # nothing there, or the reset itself
