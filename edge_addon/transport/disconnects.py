"""Clients that are not read from at the moment: whether they are still there.

An event loop hears of an end or a reset only by reading. Behind a web or mail server that hangs, a client that has gone
would keep its connection, and its place among those of its address, until the longest of idle limits. Once a second the
system is asked for all of them at once. A reset is the end. A FIN may be that of a client that has said all and waits
for its answer; it is taken for one that has gone when nothing has been read from it for a while more.
"""

from __future__ import annotations

import asyncio
import select

from edge_addon.transport.channel import PausedClient

CHECK_SECONDS = 1.0
GONE_SECONDS = 20.0
"""How long a client that has closed its side may be held without a byte being read; above the limit for connecting."""

_ENDED = select.POLLRDHUP
_BROKEN = select.POLLHUP | select.POLLERR


class Disconnects:
    """Those of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._since: dict[PausedClient, float] = {}
        self._tick: asyncio.TimerHandle | None = None

    def add(self, client: PausedClient) -> None:
        """It is not read from, from now on."""
        self._since[client] = self._loop.time()
        if self._tick is None:
            self._tick = self._loop.call_later(CHECK_SECONDS, self._check)

    def discard(self, client: PausedClient) -> None:
        """It is read from again, or gone."""
        self._since.pop(client, None)

    def stop(self) -> None:
        self._since.clear()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _check(self) -> None:
        self._tick = None
        now = self._loop.time()
        asked, sockets = select.poll(), {}
        for client, since in self._since.items():
            # One that was held a moment ago is nearly always read from again a moment later.
            if now - since >= CHECK_SECONDS / 2 and (descriptor := client.fileno()) >= 0:
                sockets[descriptor] = client
                asked.register(descriptor, _ENDED)
        for descriptor, events in asked.poll(0) if sockets else ():
            client = sockets[descriptor]
            if events & _BROKEN or (client in self._since and now - self._since[client] >= GONE_SECONDS):
                self.discard(client)
                client.on_peer_gone()
        if self._since:
            self._tick = self._loop.call_later(CHECK_SECONDS, self._check)
