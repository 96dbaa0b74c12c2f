"""Whose turn it is to accept: a worker that has more connections than another lets that one go first.

Workers wait on the same sockets, and the kernel wakes them all; the quickest takes the connection, and on a quiet
machine that is the same one time after time. Kept connections stay where they were accepted, so one processor would
serve most of them. The wait is far shorter than a handshake: a worker that is busy loses its turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

from edge_addon.plane.connection_counts import Tally

YIELD_SECONDS = 1e-5
"""With the timer's slack some 60 µs: what a worker that has nothing to do needs to wake up and accept."""


class AcceptBalance:
    """Of one worker, over its listening sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tally: Tally) -> None:
        self._loop = loop
        self._tally = tally
        self._watched: list[int] = []

    def watch(self, listener: socket.socket) -> None:
        """Look first whenever a client waits in this socket; call it after the loop has begun to accept there.

        The loop accepts by itself as soon as it sees the socket readable, and knows no way to be asked first. A second
        descriptor of the same socket is reported beside it: a wait there comes before one of the next accepts.
        """
        descriptor = os.dup(listener.fileno())
        self._watched.append(descriptor)
        self._loop.add_reader(descriptor, self._on_client)
        self._tally.accepts = True

    def stop(self) -> None:
        """This worker accepts no more; others need not wait for it."""
        self._tally.accepts = False
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()

    def _on_client(self) -> None:
        if self._tally.surplus() > 0:
            time.sleep(YIELD_SECONDS)
