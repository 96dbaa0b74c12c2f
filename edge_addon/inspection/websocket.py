"""A WebSocket whose messages addons see. It stands between a tunnel and the upstream's transport.

mitmproxy's WebSocket layer reads and writes the frames and asks for the hooks. This module gives it what each side
sends and does what it asks for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketEndHook, WebsocketLayer, WebsocketMessageHook
from wsproto import ConnectionType
from wsproto.events import CloseConnection, Event, Message
from wsproto.frame_protocol import CloseReason

from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.hooks import Hooks
from edge_addon.inspection.pieces import HELD_BYTES
from edge_addon.upstream.connection import UpgradedConnection

log = logging.getLogger(__name__)


FEED_BYTES = 16 * 1024
"""Decompressed at once, which may make a thousand times as much of them."""
PART_COST = 64
"""Counted for each part of a message beside its bytes, as empty ones take memory too."""


class WebSocketSide(WebsocketConnection):
    """Reads the frames of one side. A message is bounded, as it has to be held whole for the hook.

    Joins what arrives of a frame only at its end: mitmproxy's layer would copy all that it has for each part.
    """

    def __init__(self, side: WebsocketConnection, limit: int, budget: BodyBudget) -> None:
        """`budget`: what the client connection may hold in all, as it may have many WebSockets over HTTP/2."""
        self._limit = limit
        self._budget = budget
        self._is_refused = self._is_over = False
        self._held = 0
        """Bytes of the message that waits for its hook, and of the next one."""
        self._fed = b""
        self._parts: list[Any] = []
        self._size = 0
        self._begun: object = None
        """The header of the frame whose announced length has been checked."""
        kind = ConnectionType.CLIENT if side.client else ConnectionType.SERVER
        super().__init__(kind, side._proto.extensions, conn=side.conn)

    def receive_data(self, data: bytes | None) -> None:
        if data is None:
            super().receive_data(data)
        else:
            self._fed += data

    def events(self) -> Generator[Event, None, None]:
        for event in super().events():  # a message that the user injects, or the end of the connection
            yield event
            if isinstance(event, CloseConnection):
                return
        fed, self._fed = memoryview(self._fed), b""
        for start in range(0, len(fed), FEED_BYTES):
            super().receive_data(bytes(fed[start : start + FEED_BYTES]))
            for event in super().events():
                if self._is_over:
                    return
                if self._announces_too_much():
                    self._is_refused = True
                    break
                if not isinstance(event, Message):
                    yield event
                    if isinstance(event, CloseConnection):
                        return
                elif (whole := self._join(event)) is not None:
                    yield whole
                if self._is_refused or self._size > self._limit:
                    break
            if self._is_refused or self._size > self._limit or self._announces_too_much():
                yield CloseConnection(CloseReason.MESSAGE_TOO_BIG, "The message is too big")
                return

    def _announces_too_much(self) -> bool:
        """Whether the frame that has begun would take its message beyond the limit, by the length it announces.

        What is compressed may be a little longer than what it stands for, but not by more than a thousandth.
        """
        header = self._proto._frame_decoder.header
        if header is None or header is self._begun or header.opcode.iscontrol():
            return False
        self._begun = header
        overhead = self._limit // 1000 if self._proto.extensions else 0
        return self._size + int(header.payload_len) > self._limit + overhead

    def _join(self, event: Message[Any]) -> Message[Any] | None:
        """The whole frame at its end."""
        if self._is_over:
            return None
        cost = len(event.data) + PART_COST
        if not self._budget.take(cost, self._limit):
            self._is_refused = True
            return None
        self._held += cost
        self._parts.append(event.data)
        self._size += cost
        if not event.frame_finished or self._size > self._limit:
            return None
        data = event.data[:0].join(self._parts)
        self._parts.clear()
        if event.message_finished:
            self._size = 0
        return replace(event, data=data)

    def give_back(self, *, is_over: bool = False) -> None:
        """Its hook has returned, so a message is no longer held; `is_over`: nor is the beginning of the next one."""
        if is_over:
            self._size, self._is_over = 0, True
        left = self._size
        self._budget.give_back(self._held - left)
        self._held = left


class WebSocketRelay(asyncio.Transport, asyncio.Protocol):
    """For the tunnel it is the upstream's connection and transport, for the real transport it is the protocol."""

    def __init__(
        self, hooks: Hooks, flow: http.HTTPFlow, connection: UpgradedConnection, rest: bytes, budget: BodyBudget
    ) -> None:
        """`rest`: what the upstream sent right behind the upgrade; `budget`: of the client connection."""
        super().__init__()
        self._hooks = hooks
        self._flow = flow
        self._connection = connection
        self._upstream = connection.transport
        self._upstream.set_protocol(self)
        self._upstream.pause_reading()
        self._tunnel: asyncio.Protocol | None = None
        self._early = rest
        self._budget = budget
        self._sides: tuple[WebSocketSide, ...] = ()
        self._firing: asyncio.Task[None] | None = None
        """Waits for a hook."""
        self._lost: Exception | None = None
        self._waiting_bytes = 0
        self._is_closing = self._is_in_hook = self._is_held = False
        self._is_client_full = self._is_upstream_full = self._is_upstream_gone = False
        context = Context(flow.client_conn, hooks.options)
        context.server = flow.server_conn
        self._layer = WebsocketLayer(context, flow)

    @property
    def transport(self) -> asyncio.Transport:
        return self

    def tunnel_ended(self) -> None:
        self._hooks.give_up(self._firing)
        for side in self._sides:
            side.give_back(is_over=True)
        self._connection.tunnel_ended()

    # The transport, as the tunnel uses it.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Start, with the tunnel that is to get the upstream's messages."""
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101
        self._tunnel = protocol
        self._hooks.injectable[self._flow.id] = self._feed
        self._feed(events.Start())
        limit = self._hooks.body_limit
        self._layer.client_ws = client = WebSocketSide(self._layer.client_ws, limit, self._budget)
        self._layer.server_ws = server = WebSocketSide(self._layer.server_ws, limit, self._budget)
        self._sides = (client, server)
        self.resume_reading()
        if self._early:
            self._feed(events.DataReceived(self._flow.server_conn, self._early))
            self._early = b""
        if self._is_upstream_gone:
            self._upstream_gone()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._count_waiting(len(data))
        self._feed(events.DataReceived(self._flow.client_conn, bytes(data)))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._upstream.get_write_buffer_size()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._flow.resume()  # in case the user has intercepted a message: there is nobody to go on for
            self._feed(events.ConnectionClosed(self._flow.client_conn))
            self._upstream.close()

    def abort(self) -> None:
        self._is_closing = True
        self._upstream.abort()

    def pause_reading(self) -> None:
        self._is_client_full = True
        self._pause_or_resume()

    def resume_reading(self) -> None:
        self._is_client_full = False
        self._pause_or_resume()

    # The protocol, as the upstream's transport uses it.

    def data_received(self, data: bytes) -> None:
        if self._tunnel is None:
            self._early += data
            return
        self._count_waiting(len(data))
        self._feed(events.DataReceived(self._flow.server_conn, data))

    def eof_received(self) -> bool:
        self._upstream_gone()
        return True  # the tunnel closes the transport, after the hooks that still run

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc
        self._upstream_gone()

    def pause_writing(self) -> None:
        self._is_upstream_full = True
        if self._tunnel is not None:
            self._tunnel.pause_writing()

    def resume_writing(self) -> None:
        self._is_upstream_full = False
        if self._tunnel is not None and not self._is_held:
            self._tunnel.resume_writing()

    def _upstream_gone(self) -> None:
        self._is_upstream_gone = True
        if self._tunnel is not None and not self._is_closing:
            self._feed(events.ConnectionClosed(self._flow.server_conn))

    # The layer.

    def _feed(self, event: events.Event) -> None:
        """Give the layer an event."""
        hook = self._handle(event)
        if hook is not None:
            self._firing = self._hooks.run(self._fire(hook))

    def _handle(self, event: events.Event) -> commands.StartHook | None:
        """Do what the layer asks for after this event, up to the next hook, which it waits for."""
        hook, is_over = None, False
        try:
            for command in list(self._layer.handle_event(event)):
                if isinstance(command, commands.SendData):
                    self._send(command)
                elif isinstance(command, commands.CloseConnection):
                    is_over = is_over or command.connection is self._flow.client_conn
                elif isinstance(command, commands.StartHook):
                    hook = command
        except Exception:
            log.exception("inspection: a WebSocket failed")
            self.abort()
            hook, is_over = None, True
            if self._hooks.injectable.pop(self._flow.id, None) is not None:
                self._flow.live = False
                self._hooks.give_up(self._hooks.run(self._hooks.tell(WebsocketEndHook(self._flow), self._flow)))
        if is_over and self._tunnel is not None:
            if self._lost is None:
                self._tunnel.eof_received()
            else:
                self._tunnel.connection_lost(self._lost)
        return hook

    def _send(self, command: commands.SendData) -> None:
        if command.connection is not self._flow.client_conn:
            if not self._upstream.is_closing():
                self._upstream.write(command.data)
        elif self._tunnel is not None:
            self._tunnel.data_received(command.data)

    async def _fire(self, hook: commands.StartHook | None) -> None:
        """Fire one hook after the other as long as the layer has one."""
        self._is_in_hook = True
        while hook is not None:
            try:
                await self._hooks.tell(hook, self._flow)
            except asyncio.CancelledError:
                self._hooks.injectable.pop(self._flow.id, None)
                raise
            if isinstance(hook, WebsocketEndHook):
                self._hooks.injectable.pop(self._flow.id, None)
            elif isinstance(hook, WebsocketMessageHook) and self._flow.websocket and not self._hooks.keeps_messages:
                del self._flow.websocket.messages[:-1]  # a WebSocket may last for days
            hook = self._handle(events.HookCompleted(hook))
        self._is_in_hook = False
        self._waiting_bytes = 0
        for side in self._sides:
            side.give_back()
        self._let_go_on()

    def _count_waiting(self, size: int) -> None:
        """Stop reading from both sides while much waits for a hook."""
        if self._is_in_hook:
            self._waiting_bytes += size
            if self._waiting_bytes > HELD_BYTES and not self._is_held and self._tunnel is not None:
                self._is_held = True
                self._pause_or_resume()
                self._tunnel.pause_writing()

    def _pause_or_resume(self) -> None:
        if self._upstream.is_closing():
            return
        if self._is_client_full or self._is_held:
            self._upstream.pause_reading()
        else:
            self._upstream.resume_reading()

    def _let_go_on(self) -> None:
        if self._is_held and self._tunnel is not None:
            self._is_held = False
            self._pause_or_resume()
            if not self._is_upstream_full:
                self._tunnel.resume_writing()
