"""Balances accepts: a worker with more connections than another lets that one accept first.

Workers wait on the same sockets and the kernel wakes all of them; the quickest accepts the connection, which on a quiet
machine is the same one every time. Connections stay where they were accepted, so one processor would serve most of
them. The wait is far shorter than a handshake, so a busy worker loses its turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

from edge_addon.plane.connection_counts import Tally

YIELD_SECONDS = 1e-5
"""About 60 µs with the timer's slack: the time that an idle worker needs to wake up and accept."""


class AcceptBalance:
    """The balance of one worker, for all its listening sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tally: Tally) -> None:
        self._loop = loop
        self._tally = tally
        self._watched: list[int] = []

    def watch(self, listener: socket.socket) -> None:
        """Check the balance whenever a client waits in this socket; call it after the loop accepts there.

        The loop accepts as soon as the socket is readable and offers no hook before that. A duplicate descriptor of
        the same socket becomes readable together with it, so a wait there precedes one of the next accepts.
        """
        descriptor = os.dup(listener.fileno())
        self._watched.append(descriptor)
        self._loop.add_reader(descriptor, self._on_client)
        self._tally.accepts = True

    def stop(self) -> None:
        """This worker no longer accepts connections; others need not wait for it."""
        self._tally.accepts = False
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()

    def _on_client(self) -> None:
        if self._tally.surplus() > 0:
            time.sleep(YIELD_SECONDS)
