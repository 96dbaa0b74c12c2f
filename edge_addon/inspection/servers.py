"""mitmproxy's HTTP/1 and HTTP/2 towards clients, as strict and as bounded as the fast path's.

Each request head is read by the fast path's own reader first, so what is ambiguous is refused here as it is there, and
mitmproxy never parses it. What mitmproxy does not bound (a head's size, what is sent ahead, floods) is bounded here.
"""

from __future__ import annotations

from typing import Protocol

import h2.errors
import h2.events
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Server

from edge_addon.http.framing import RequestHead, parse_request
from edge_addon.http.limits import PIPELINED_BYTES
from edge_addon.http.partial_head import check_partial_head, skip_empty_lines
from edge_addon.http.refusal import BadMessage
from edge_addon.relay.http2.budget import Budget, Costly

_CONTROL = (
    h2.events.PingReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)


class Front(Protocol):
    """What the client's side asks of its session."""

    header_bytes: int
    heads: dict[int, RequestHead]
    """Heads of HTTP/1 requests, by stream, until the stream takes them."""
    budget: Budget

    def now(self) -> float: ...

    def head_begun(self) -> None:
        """The first part of a head is there: the rest has its deadline."""

    def head_complete(self) -> None: ...

    def refusal(self, error: BadMessage) -> bytes:
        """The answer to a request that is none, which ends the connection."""

    def flooded(self, cause: str) -> None: ...


class FrontHttp1(Http1Server):
    """One client's HTTP/1."""

    def __init__(self, context: Context, front: Front) -> None:
        super().__init__(context)
        self._front = front
        self._empty_lines = 0

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            try:
                is_complete = self._read_head()
            except BadMessage as error:
                yield commands.SendData(self.conn, self._front.refusal(error))
                yield commands.CloseConnection(self.conn)
                self.state = self.done
                return
            if not is_complete:
                return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        try:
            yield from super().read_body(event)
        except NotImplementedError:  # trailers, which mitmproxy does not know over HTTP/1
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(RequestProtocolError(self.stream_id, "request trailers", ErrorCode.GENERIC_CLIENT_ERROR))

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and len(self.buf) > PIPELINED_BYTES:
            self._front.flooded("request_pipelined_too_far")
            event = events.ConnectionClosed(self.conn)
        yield from super().wait(event)

    def _read_head(self) -> bool:
        """Whether a whole head is there, and a good one; raises BadMessage."""
        data = bytes(self.buf)
        rest, self._empty_lines = skip_empty_lines(data, self._empty_lines)
        if len(rest) < len(data):
            self.buf.maybe_extract_at_most(len(data) - len(rest))
        if not rest:
            return False
        limit = self._front.header_bytes
        end = rest.find(b"\r\n\r\n", 0, limit + 4)
        if end < 0:
            check_partial_head(rest, limit)
            self._front.head_begun()
            return False
        self._front.heads[self.stream_id] = parse_request(rest[:end])
        self._empty_lines = 0
        self._front.head_complete()
        return True


class FrontHttp2(Http2Server):
    """One client's HTTP/2. What a flood costs is counted as on the fast path."""

    def __init__(self, context: Context, front: Front) -> None:
        super().__init__(context)
        self._front = front

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        kind = _cost(event)
        if kind is not None and not self._front.budget.spend(kind, self._front.now()):
            self._front.flooded(f"http2_flood_{kind.name.lower()}")
            yield from self.protocol_error("too much of it", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            return True
        if isinstance(event, h2.events.RequestReceived):
            self._front.head_complete()
        return (yield from super().handle_h2_event(event))


def _cost(event: h2.events.Event) -> Costly | None:
    if isinstance(event, h2.events.StreamReset):
        return Costly.RESET
    if isinstance(event, _CONTROL) or (isinstance(event, h2.events.DataReceived) and not event.data):
        return Costly.CONTROL
    return None
