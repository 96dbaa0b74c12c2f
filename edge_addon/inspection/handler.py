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

from edge_addon.http.limits import CONNECT_SECONDS

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from edge_addon.inspection.stream import InspectingLayer

HELD_BYTES = 256 * 1024
"""What may wait inside mitmproxy for a client's window, or for a connection that is being made, per stream."""
HELD_BY_ALL = 2 * 1024 * 1024
"""The same for all streams of a client, as on the fast path: beyond, none of its upstreams is read on."""
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
        self.is_client_held = False
        """What the client has sent waits, so it is not read from."""

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

    async def handle_connection(self, connection: Connection) -> None:
        reader = self.transports[connection].reader
        try:
            await super().handle_connection(connection)
        except asyncio.CancelledError as error:
            # The frame holds the exception that holds the frame, and streams hold each other, with all that was read
            # and not passed on: all that would wait for the collector, which seldom looks in a worker.
            if isinstance(reader, asyncio.StreamReader):
                reader._buffer.clear()  # type: ignore[attr-defined]
            raise error.with_traceback(None) from None

    def let_go(self) -> None:
        """The client's side is over: what waits for it is of no use, and lies in cycles too."""
        front = self.layer.connections.get(self.client)
        if isinstance(front, Http2Server):
            front.h2_conn.stream_buffers.clear()

    async def drain_writers(self) -> None:
        """Wait until those have room who get what this task reads. Called by each connection's own task."""
        task = asyncio.current_task()
        mine = next((each for each, io in self.transports.items() if io.handler is task), None)
        is_upstream = mine is not self.client
        if is_upstream:
            await self._make_room(mine, is_upstream=True)
            return
        self.is_client_held = True
        try:
            await self._make_room(mine, is_upstream=False)
        finally:
            self.is_client_held = False

    async def _make_room(self, mine: Connection | None, *, is_upstream: bool) -> None:
        for connection, io in list(self.transports.items()):
            if io.writer is None or (connection is self.client) != is_upstream:
                continue
            await self._drain(io)
        if not is_upstream and (len(self.transports) == 1 or self._has_streams_abreast):
            # Answers of our own, or to other streams: a client that does not read them gets no more.
            await self._drain(self.transports[self.client])
        while self._is_full(mine):
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

    def _is_full(self, mine: Connection | None) -> bool:
        """Whether too much waits inside mitmproxy of what came from this connection's side."""
        held = self.held_bytes(of_client=mine is self.client)
        if sum(held.values()) > HELD_BY_ALL:
            return True
        streams = self.layer.streams
        return any(
            size > HELD_BYTES and (mine is self.client or (each in streams and streams[each].uses(mine)))
            for each, size in held.items()
        )

    def held_bytes(self, *, of_client: bool) -> dict[int, int]:
        """By stream, what the client has sent and waits, or what waits for the client's window."""
        if of_client:
            return {each: stream.waiting_bytes for each, stream in self.layer.streams.items()}
        front = self.layer.connections.get(self.client)
        if not isinstance(front, Http2Server):
            return {}
        buffers = front.h2_conn.stream_buffers
        return {each: sum(len(piece.data) for piece in waiting) for each, waiting in buffers.items()}
