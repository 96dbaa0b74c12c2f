"""Peers that vanish without a word, by a power cut or in a NAT that forgets: TCP asks after them (RFC 1122 §4.2.3.6).

Rarely, because each question wakes a telephone that waits for mail; a quarter of an hour until the answer is known is
still far below the idle limits of long polls and of IMAP IDLE. Set on a listening socket it holds for all that are
accepted on it, so it costs no connection anything.
"""

from __future__ import annotations

import asyncio
import socket

IDLE_SECONDS = 600
INTERVAL_SECONDS = 60
QUESTIONS = 5

_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, QUESTIONS),
)


def ask_after_peers(bound: socket.socket) -> None:
    """Of this socket, or of all those that will be accepted on it. Others than TCP know their peers."""
    if bound.family in (socket.AF_INET, socket.AF_INET6) and bound.type == socket.SOCK_STREAM:
        for level, option, value in _OPTIONS:
            bound.setsockopt(level, option, value)


def ask_after_peer(transport: asyncio.BaseTransport) -> None:
    if (bound := transport.get_extra_info("socket")) is not None:
        ask_after_peers(bound)
