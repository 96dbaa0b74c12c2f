"""A client connection whose decrypted bytes mitmproxy's HTTP layer handles: a `Session` for its channel.

One task per connection runs mitmproxy's handler; it is owned here and ends with the channel. What is said of the client
to addons (address after PROXY, SNI, ALPN, TLS version) is what mitmproxy would say had it terminated TLS itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hyperframe.frame import GoAwayFrame
from mitmproxy.proxy.layers.http._http2 import Http2Server

from certstore.model.settings.models import Upstream
from edge_addon.http import responses
from edge_addon.http.framing import RequestHead
from edge_addon.http.refusal import BadMessage
from edge_addon.inspection.handler import InspectingHandler
from edge_addon.inspection.plain import PlainWriter, plain_reader
from edge_addon.inspection.stream import InspectingLayer
from edge_addon.relay.admission import Admission
from edge_addon.relay.http2.budget import Budget
from edge_addon.relay.report import build_entry
from edge_addon.transport.channel import Channel

if TYPE_CHECKING:
    from edge_addon.inspection.exchange import InspectedExchange
    from edge_addon.inspection.inspector import Inspector
    from edge_addon.plane.data_plane import DataPlane


class InspectedSession:
    """Reads from the channel once mitmproxy's handler runs, some turns of the loop from now."""

    def __init__(self, channel: Channel, plane: DataPlane, inspector: Inspector) -> None:
        self.channel = channel
        self.plane = plane
        self.admission = Admission(channel, plane, is_inspecting=True)
        self.is_http2 = channel.alpn == "h2"
        self.is_draining = False
        self.keeps_messages = inspector.keeps_messages
        self.upstreams: dict[tuple[str, int], Upstream] = {}
        """By address, those that requests of this connection went to: how their TLS is verified."""
        self.header_bytes = plane.settings.limits.header_bytes
        self.heads: dict[int, RequestHead] = {}
        self.bodies: set[InspectedExchange] = set()
        """Those that wait for more of their request's body."""
        self.budget = Budget(self.now())
        self._timer = plane.timers.timer()
        self._timer.set(plane.settings.limits.head_seconds, channel.close)
        self._is_reading_head = False
        self._reader = plain_reader(channel, plane.loop)
        self._writer = PlainWriter(channel)
        self._handler = self._make_handler(inspector)
        channel.pause_reading()
        self._task = plane.loop.create_task(self._run(inspector))
        inspector.adopt(self._task, self)

    def _make_handler(self, inspector: Inspector) -> InspectingHandler:
        channel = self.channel
        handler = InspectingHandler(
            inspector.master,
            self._reader,
            self._writer.as_stream_writer(),
            inspector.options,
            inspector.mode_of(channel.listener),
        )
        client = handler.client
        client.tls = channel.secure
        if channel.secure:
            client.timestamp_tls_setup = time.time()
            client.sni = channel.server_name
            client.tls_version = channel.tls_version  # type: ignore[assignment]
            client.alpn = (channel.alpn or "http/1.1").encode("ascii")
        context = handler.layer.context
        # Never connected to: each request names its own. mitmproxy wants an address to begin with.
        context.server.address = ("upstream.invalid", 0)
        context.layers.clear()
        handler.layer = InspectingLayer(context, self)
        return handler

    async def _run(self, inspector: Inspector) -> None:
        try:
            with inspector.manager.register_connection(self._handler.client.id, self._handler):
                self.channel.resume_reading()
                await self._handler.handle_client()
        finally:
            self._handler.let_go()
            self.channel.close()

    @property
    def client_id(self) -> str:
        """mitmproxy's name for the client."""
        return self._handler.client.id

    # The session, as its channel sees it.

    @property
    def is_idle(self) -> bool:
        return not self._handler.layer.streams and not self._is_reading_head

    def data_received(self, data: bytes) -> None:
        self._reader.feed_data(data)

    def eof_received(self) -> None:
        """mitmproxy takes a client that has closed its side for gone."""
        self._reader.feed_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        for exchange in list(self.bodies):
            exchange.body_ended()
        self._writer.lost()
        self._reader.feed_eof()
        self._handler.cancel_client()

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    def tls_established(self) -> None:
        """HTTP has no STARTTLS."""

    def drain(self) -> None:
        """The answer under way is the last; over HTTP/2 the client is told to send what comes now elsewhere."""
        self.is_draining = True
        if self.is_idle:
            self.channel.close()
            return
        front = self._handler.layer.connections.get(self._handler.client)
        if isinstance(front, Http2Server):
            last = front.h2_conn.highest_inbound_stream_id
            self.channel.write(GoAwayFrame(0, last_stream_id=last, error_code=0).serialize())

    # Called by the layers.

    def now(self) -> float:
        return self.plane.loop.time()

    def head_begun(self) -> None:
        if not self._is_reading_head:
            self._is_reading_head = True
            self._timer.set(self.plane.settings.limits.head_seconds, self._head_timed_out)

    def head_complete(self) -> None:
        self._is_reading_head = False
        self._timer.cancel()

    @property
    def is_held(self) -> bool:
        """The client is not read from: an upstream takes no more, or is not there yet."""
        return self._handler.is_client_held

    def request_begun(self) -> None:
        self.head_complete()

    def request_finished(self) -> None:
        self.budget.responses += 1

    def stream_dropped(self) -> None:
        """A stream has ended; what it still writes in this turn of the loop goes out before a close."""
        if self.is_draining:
            self.plane.loop.call_soon(self._close_if_idle)

    def refusal(self, error: BadMessage) -> bytes:
        self.plane.count(f"request_{error.cause}")
        if self.plane.access_log.is_enabled:
            self.plane.access_log.write(build_entry(self.channel, None, error.status, error.cause))
        return responses.encode_answer(
            responses.page(error.status, error.cause),
            self.plane.clock(),
            self.admission.own_fields,
            is_head=False,
            connection=b"close",
        )

    def flooded(self, cause: str) -> None:
        self.plane.count(cause)

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.channel.close()

    def _head_timed_out(self) -> None:
        self._timed_out("request_head_timed_out", says_so=True)

    def body_timed_out(self, *, has_answered: bool) -> None:
        """A client that lets one body drip loses the connection: over HTTP/2 it has hardly a use for the others."""
        self._timed_out("request_body_timed_out", says_so=not (has_answered or self.is_http2))

    def _timed_out(self, cause: str, *, says_so: bool) -> None:
        self.plane.count(cause)
        if says_so:
            answer = responses.page(408, cause)
            self.channel.write(
                responses.encode_answer(
                    answer, self.plane.clock(), self.admission.own_fields, is_head=False, connection=b"close"
                )
            )
        self.channel.close()
