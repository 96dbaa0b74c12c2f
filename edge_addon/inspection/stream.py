"""One request on an inspected connection: the edge's rules first, then mitmproxy's machinery with the user's addons.

The layers are mitmproxy's own; what they are about to do passes by here as commands. Before the first hook of a flow
the gate of the fast path has judged the request; towards the client our pages stand where mitmproxy would put its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitmproxy.connection import Connection, Server
from mitmproxy.http import Response
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    HttpStream,
    RegisterHttpConnection,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook

from edge_addon.inspection.exchange import InspectedExchange
from edge_addon.inspection.servers import FrontHttp1, FrontHttp2
from edge_addon.inspection.upstream_http1 import make_strict

if TYPE_CHECKING:
    from edge_addon.inspection.session import InspectedSession


class InspectingLayer(HttpLayer):
    """mitmproxy's HTTP layer with our client side and our streams."""

    streams: dict[int, InspectedStream]  # type: ignore[assignment]

    def __init__(self, context: Context, session: InspectedSession) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._session = session
        front = FrontHttp2 if context.client.alpn == b"h2" else FrontHttp1
        self.connections[context.client] = front(context.fork(), session)

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        stream = self.streams[stream_id] = InspectedStream(self.context.fork(), stream_id, self._session)
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        # mitmproxy remembers for the life of the client connection that an upstream could not be reached.
        for each in list(self.connections):
            if isinstance(each, Server) and each.error and each not in self.waiting_for_establishment:
                del self.connections[each]
        yield from super().get_connection(event, reuse=reuse)

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        if command.err is None:
            session = self._session
            make_strict(self.connections[command.connection], session.header_bytes, session.plane.count)
        yield from super().register_connection(command)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        is_forgotten = (
            isinstance(event, events.ConnectionEvent)
            and event.connection not in self.connections
            and event.connection is not self.context.server
        )
        if not is_forgotten:
            yield from super()._handle_event(event)


class InspectedStream(HttpStream):
    """From a request's head to the end of its response, or of the WebSocket that it became."""

    def __init__(self, context: Context, stream_id: int, session: InspectedSession) -> None:
        super().__init__(context, stream_id)
        self._session = session
        self._exchange = InspectedExchange(session, stream_id)
        self._has_responded = False
        self._is_upstream_answer = False

    def uses(self, connection: Connection | None) -> bool:
        """Whether the response comes from this upstream connection."""
        return self.context.server is connection

    @property
    def waiting_bytes(self) -> int:
        """What came while the stream waits for an upstream or a hook."""
        return sum(len(event.data) for event in self._paused_event_queue if isinstance(event, RequestData))

    # mitmproxy's states, with our part.

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestData):
            self._exchange.body_received(len(event.data))
        elif isinstance(event, RequestEndOfMessage):
            self._exchange.body_ended()
        yield from self._watch(super()._handle_event(event))

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        yield from self._watch(super().passthrough(event))

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        # A copy: the client's side goes on by what the client said about its connection, addons see what goes on.
        event.request = event.request.copy()
        self._exchange.begin(event)
        yield from super().state_wait_for_request_headers(event)

    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestData) and self.flow.response is not None:
            return  # answered already: the body is of no use, and may be large
        yield from super().state_consume_request_body(event)

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        event.response = event.response.copy()
        self._is_upstream_answer = True
        yield from super().state_wait_for_response_headers(event)

    def make_server_connection(self) -> CommandGenerator[bool]:
        """As mitmproxy's, but with the site's next upstream when one can't be reached."""
        flow = self.flow
        while True:
            connection, error = yield GetHttpConnection(
                (flow.request.host, flow.request.port),
                flow.request.scheme == "https",
                flow.server_conn.via,
                flow.server_conn.transport_protocol,
            )
            if not error:
                self._exchange.connected()
                self.context.server = flow.server_conn = connection
                return True
            if not self._exchange.has_next_upstream(flow.request, error):
                break
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, error, ErrorCode.CONNECT_FAILED))
        return False

    # What passes by.

    def _watch(self, generator: CommandGenerator[None]) -> CommandGenerator[None]:
        reply: Any = None
        while True:
            try:
                command = generator.send(reply)
            except StopIteration:
                return
            if isinstance(command, SendHttp) and command.connection is self.context.client:
                reply = None
                yield from self._to_client(command)
                continue
            self._before(command)
            reply = yield command
            self._after(command)

    def _before(self, command: commands.Command) -> None:
        if isinstance(command, HttpRequestHeadersHook):
            if self.flow.error is None:
                self._exchange.admit(self.flow)
        elif isinstance(command, HttpResponseHeadersHook):
            response = self.flow.response
            assert response is not None  # noqa: S101
            self._exchange.clean(response)
            if self._is_upstream_answer:
                response.stream = True

    def _after(self, command: commands.Command) -> None:
        if isinstance(command, HttpRequestHeadersHook):
            if self.flow.response is not None:
                self.flow.request.stream = False  # mitmproxy can't do both
        elif isinstance(command, HttpResponseHook):
            if self.flow.websocket is None:
                self._exchange.finish(self.flow, None)
        elif isinstance(command, HttpErrorHook):
            self._exchange.finish(self.flow, "inspection_failed")
        elif isinstance(command, WebsocketMessageHook):
            self._exchange.forget_messages(self.flow)
        elif isinstance(command, WebsocketEndHook):
            self._exchange.finish(self.flow, None)
        elif isinstance(command, DropStream):
            self._session.stream_dropped()

    def _to_client(self, command: SendHttp) -> CommandGenerator[None]:
        event = command.event
        if isinstance(event, ResponseHeaders):
            self._has_responded = event.response.status_code >= 200 or event.response.status_code == 101
            self._exchange.responded(event.response.status_code)
        elif isinstance(event, ResponseData):
            self._exchange.bytes_out += len(event.data)
        elif isinstance(event, ResponseProtocolError) and not self._has_responded:
            status = event.code.http_status_code()
            if status is not None:
                yield from self._own_page(command, 502 if status >= 500 else 400)
                return
        yield command

    def _own_page(self, command: SendHttp, status: int) -> CommandGenerator[None]:
        """mitmproxy's page names its version and what it knows of the network behind; ours does not."""
        self._has_responded = True
        client = self.context.client
        response: Response = self._exchange.page(status)
        self._exchange.responded(status)
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=False), client)
        if not self._exchange.is_head:
            yield SendHttp(ResponseData(self.stream_id, response.raw_content or b""), client)
        if self._session.is_http2:
            yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        else:
            yield command  # closes the connection: nothing more is written, as a response has begun
