"""Detects clients that disconnect while they are not read from.

An event loop notices a FIN or a reset only by reading. When a web or mail server hangs, a client that has gone would
keep its connection, which counts towards the limit of its address, until the longest idle limit. So one `poll` a
second asks about all such clients together. A reset ends the connection. A FIN may come from a client that has sent
everything and waits for its answer; it counts as gone when nothing has been read from it for some time longer.
"""

from __future__ import annotations

import asyncio
import select

from edge_addon.transport.channel import PausedClient

CHECK_SECONDS = 1.0
GONE_SECONDS = 20.0
"""How long a client that has closed its side may wait without a byte being read; above the limit for connecting."""

_ENDED = select.POLLRDHUP
_BROKEN = select.POLLHUP | select.POLLERR


class Disconnects:
    """The paused clients of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._since: dict[PausedClient, float] = {}
        self._tick: asyncio.TimerHandle | None = None

    def add(self, client: PausedClient) -> None:
        """The client is not read from until `discard`."""
        self._since[client] = self._loop.time()
        if self._tick is None:
            self._tick = self._loop.call_later(CHECK_SECONDS, self._check)

    def discard(self, client: PausedClient) -> None:
        """The client is read from again, or its connection is closed."""
        self._since.pop(client, None)

    def stop(self) -> None:
        self._since.clear()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _check(self) -> None:
        self._tick = None
        now = self._loop.time()
        poll, sockets = select.poll(), {}
        for client, since in self._since.items():
            # A client that was paused a moment ago is nearly always read from again a moment later.
            if now - since >= CHECK_SECONDS / 2 and (descriptor := client.fileno()) >= 0:
                sockets[descriptor] = client
                poll.register(descriptor, _ENDED)
        for descriptor, events in poll.poll(0) if sockets else ():
            client = sockets[descriptor]
            if events & _BROKEN or (client in self._since and now - self._since[client] >= GONE_SECONDS):
                self.discard(client)
                client.on_peer_gone()
        if self._since:
            self._tick = self._loop.call_later(CHECK_SECONDS, self._check)
