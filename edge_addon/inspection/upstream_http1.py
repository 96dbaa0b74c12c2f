"""mitmproxy's HTTP/1 towards upstreams, as strict and as bounded as the fast path's.

Each response head is read by the fast path's own reader first, and chunks by its decoder. What mitmproxy does not know
is settled here: it takes a 1xx for the answer, so that the real one would stand for the next request's; it fails at
trailers; and it makes a tunnel, past every addon, of a 101 that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import h11
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpClient
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Client

from edge_addon.http.chunks import ChunkDecoder
from edge_addon.http.framing import CHUNKED, ResponseHead, parse_response
from edge_addon.http.limits import MAX_INFORMATIONAL
from edge_addon.http.partial_head import check_partial_response
from edge_addon.http.refusal import BadMessage, Cause


def make_strict(top: layer.Layer, header_bytes: int, count: Callable[[str], None]) -> None:
    """Put our HTTP/1 in place of mitmproxy's, before anything was sent; `top` is the upstream connection's layer."""
    while not isinstance(top, HttpClient):
        top = top.child_layer  # type: ignore[attr-defined]
    if not isinstance(top.child_layer, Http1Client):
        return
    ours = top.child_layer = UpstreamHttp1(top.context, header_bytes, count)
    top._handle_event = ours.handle_event
    for _ in ours.handle_event(events.Start()):
        raise AssertionError("the start of HTTP/1 asks for nothing")


class UpstreamHttp1(Http1Client):
    """One connection's; `count` is told why a response was refused."""

    def __init__(self, context: Context, header_bytes: int, count: Callable[[str], None]) -> None:
        super().__init__(context)
        self._header_bytes = header_bytes
        self._count = count
        self._informational = 0
        self._has_chunks = False

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and self.request is not None:
            try:
                head = self._read_head()
            except BadMessage as error:
                yield from self._refuse(error)
                return
            if head is None:
                return
            self._has_chunks = head.length == CHUNKED
            self._informational = 0
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        if self._has_chunks:
            self._has_chunks = False
            self.body_reader = _Chunks()  # type: ignore[assignment]
        yield from super().read_body(event)

    def _read_head(self) -> ResponseHead | None:
        """The final head once it is there, 1xx before it taken out; it stays in the buffer. Raises BadMessage."""
        assert self.request is not None  # noqa: S101
        while True:
            data = bytes(self.buf)
            end = data.find(b"\r\n\r\n", 0, self._header_bytes + 4)
            if end < 0:
                check_partial_response(data, self._header_bytes)
                return None
            head = parse_response(data[:end], is_head_request=self.request.data.method == b"HEAD")
            if head.status >= 200:
                return head
            if head.status == 101:
                self._check_upgrade(head)
                return head
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise BadMessage(Cause.TOO_MANY_INFORMATIONAL)
            self.buf.maybe_extract_at_most(end + 4)

    def _check_upgrade(self, head: ResponseHead) -> None:
        assert self.request is not None  # noqa: S101
        asked = self.request.headers.get("upgrade", "").lower()
        if asked != "websocket" or head.upgrade is None or head.upgrade.lower() != b"websocket":
            raise BadMessage(Cause.UNASKED_UPGRADE)

    def _refuse(self, error: BadMessage) -> CommandGenerator[None]:
        assert self.stream_id is not None  # noqa: S101
        self._count(f"upstream_{error.cause}")
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, error.cause, ErrorCode.GENERIC_SERVER_ERROR))


class _Chunks:
    """A body reader for mitmproxy, which knows those of h11. Trailers are left out."""

    def __init__(self) -> None:
        self._decoder = ChunkDecoder()
        self._is_over = False

    def __call__(self, buffer: h11._receivebuffer.ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        body = b""
        if not self._is_over and (data := buffer.maybe_extract_at_most(len(buffer))):
            try:
                body, rest = self._decoder.feed(bytes(data))
            except BadMessage as error:
                raise h11.RemoteProtocolError(error.cause) from error
            if rest is not None:
                self._is_over = True
                buffer += rest
        if body:
            return h11.Data(data=body)
        return h11.EndOfMessage() if self._is_over else None

    def read_eof(self) -> h11.Event:
        raise h11.RemoteProtocolError("the upstream ended in the middle of a body")
