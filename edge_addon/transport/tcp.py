"""TCP beneath any protocol: keep-alive, closing with a deadline, and what a reset left unread.

A transport's `close` waits until everything is sent. A peer that hangs would keep its socket open for as long as it
hangs, so `close_with_deadline` resets it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

CLOSE_SECONDS = 30.0
"""How long a peer may accept none of the data that is left to send."""


def close_with_deadline(transport: asyncio.WriteTransport) -> None:
    """Close once everything is sent; reset a peer that accepts nothing for CLOSE_SECONDS."""
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
"""Keep-alive (RFC 1122 §4.2.3.6) finds peers that vanished silently, in a power cut or behind a NAT that forgot them.
It is rare because each probe wakes a phone that waits for mail; a quarter of an hour until a peer counts as gone is
still far below the idle limits of long polls and IMAP IDLE.
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
    """Turn keep-alive on. Connections inherit it from their listening socket, at no cost.

    Only TCP needs it: other sockets notice when their peer has gone.
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
    """What a peer sent before it reset the connection; for `connection_lost`, when the descriptor is still open.

    An event loop gives a connection up as soon as a write fails, which would lose the early answer (413, 401) of an
    upstream that closes while a request body is on its way. Under TLS the transport has already read it.
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
        return  # no data, or the reset itself
