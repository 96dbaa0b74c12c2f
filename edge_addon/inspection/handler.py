"""mitmproxy's connection handler, with back-pressure that holds both ways and a connect that ends.

As it comes, one slow writer stops every reader of the connection, the writer's own peer included, and a body that the
client's HTTP/2 window does not take is kept whole. Here each side waits for the sides that its bytes go to.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mitmproxy import options
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._http2 import Http2Server
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode

from edge_addon.relay.limits import CONNECT_SECONDS

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from edge_addon.inspection.stream import InspectingLayer

HELD_BYTES = 256 * 1024
"""What may wait inside mitmproxy for a client's window, or for a connection that is being made, per stream."""
UPSTREAM_CONNECTIONS = 128
"""To one upstream for one client. mitmproxy's five are as many long polls; HTTP/2 clients have that many at once."""


class InspectingHandler(ProxyConnectionHandler):
    """Of one client connection; `layer` must be set to an `InspectingLayer` before it runs."""

    layer: InspectingLayer

    def __init__(
        self,
        master: Master,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        opts: options.Options,
        mode: ProxyMode,
    ) -> None:
        super().__init__(master, reader, writer, opts, mode)  # type: ignore[no-untyped-call]
        self.max_conns = defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS))
        self._moved = asyncio.Event()

    def cancel_client(self) -> None:
        """End the client's side, as mitmproxy itself does when a layer closes it."""
        if (io := self.transports.get(self.client)) is not None and io.handler is not None:
            io.handler.cancel("the client has gone")

    async def server_event(self, event: events.Event) -> None:
        await super().server_event(event)
        self._moved.set()

    async def open_connection(self, command: commands.OpenConnection) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        connection = command.connection

        def give_up() -> None:
            if not connection.connected:
                task.cancel()

        timer = asyncio.get_running_loop().call_later(CONNECT_SECONDS, give_up)
        try:
            await super().open_connection(command)
        finally:
            timer.cancel()

    async def drain_writers(self) -> None:
        """Wait until those have room who get what this task reads. Called by each connection's own task."""
        task = asyncio.current_task()
        mine = next((each for each, io in self.transports.items() if io.handler is task), None)
        is_upstream = mine is not self.client
        for connection, io in list(self.transports.items()):
            if io.writer is None or (connection is self.client) != is_upstream:
                continue
            await self._drain(io)
        if not is_upstream and (len(self.transports) == 1 or self._has_streams_abreast):
            # Answers of our own, or to other streams: a client that does not read them gets no more.
            await self._drain(self.transports[self.client])
        while self._held(mine) > HELD_BYTES:
            self._moved.clear()
            await self._moved.wait()

    @property
    def _has_streams_abreast(self) -> bool:
        return isinstance(self.layer.connections.get(self.client), Http2Server)

    async def _drain(self, io: Any) -> None:
        try:
            await io.writer.drain()
        except OSError as error:
            if io.handler is not None:
                io.handler.cancel(f"Error sending data: {error}")

    def _held(self, mine: Connection | None) -> int:
        """Bytes that came from this connection and wait inside mitmproxy: the most of any stream."""
        streams = self.layer.streams.values()
        if mine is self.client:
            return max((stream.waiting_bytes for stream in streams), default=0)
        front = self.layer.connections.get(self.client)
        if not isinstance(front, Http2Server):
            return 0
        buffers = front.h2_conn.stream_buffers
        return max(
            (
                sum(len(piece.data) for piece in buffers.get(stream.stream_id, ()))
                for stream in streams
                if stream.uses(mine)
            ),
            default=0,
        )
