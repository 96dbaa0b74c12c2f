"""One inspected request: the relay's exchange, with mitmproxy's hooks on the way to the upstream and back.

A session uses it like an `Exchange`, and it uses an `Exchange` to reach the upstream. Bodies stream past the hooks
unless an addon asks for the whole body. What arrives while a hook runs waits in `Pieces`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import KW_ONLY, dataclass, field

from mitmproxy import connection, http
from mitmproxy.flow import Error
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.websocket import WebSocketData

from edge_addon.http.chunks import ChunkDecoder, encode_chunk, encode_last_chunk
from edge_addon.http.fields import FieldTable
from edge_addon.http.framing import BODILESS, CHUNKED, UNTIL_CLOSE, ResponseHead
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.hooks import Hooks
from edge_addon.inspection.messages import (
    Streamed,
    add_trailers,
    build_request,
    build_response,
    encode_request,
    is_login,
    read_response,
    trailer_lines,
)
from edge_addon.inspection.pieces import BrokenOff, Pieces
from edge_addon.inspection.websocket import WebSocketRelay
from edge_addon.relay.exchange import Exchange
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.connection import UpgradedConnection
from edge_addon.upstream.interfaces import ExchangeClient
from edge_addon.upstream.login import ClientLogins
from edge_addon.upstream.pool import UpstreamPool

log = logging.getLogger(__name__)

PoolFinder = Callable[[str, str, int], UpstreamPool]
"""The pool for a scheme, host and port that an addon chose."""


@dataclass(eq=False, repr=False)
class InspectedExchange:
    """Made per request: `start` once, then `send` and `finish` while there is a body."""

    _hooks: Hooks
    _peer: connection.Client
    """The client connection as addons know it."""
    _greeting: asyncio.Task[None]
    """Announces it to them."""
    _find_pool: PoolFinder
    _budget: BodyBudget
    """What the client connection may hold in whole bodies."""
    _client: ExchangeClient
    _pool: UpstreamPool
    _method: bytes
    _fields: FieldTable
    _: KW_ONLY
    asks_upgrade: bool
    _length: int = 0
    _decoder: ChunkDecoder | None = None
    _exchange: Exchange | None = None
    _upstream: str | None = None
    _websocket: WebSocketRelay | None = None
    _request: Pieces = field(init=False)
    _response: Pieces = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _held: int = 0
    """Bytes of whole bodies, taken from the budget."""
    _is_over: bool = False
    _owes_outcome: bool = False
    _is_upstream_full: bool = False
    _is_client_full: bool = False

    def __post_init__(self) -> None:
        self._request = Pieces(self._client.pause_body, self._resume_client)
        self._response = Pieces(self._pause_upstream, self._resume_upstream)
        self._is_head = self._method == b"HEAD"

    @property
    def upstream(self) -> str | None:
        """The URL of the upstream that got the request."""
        return self._upstream if self._exchange is None else self._exchange.upstream

    @property
    def logins(self) -> ClientLogins:
        """Those of the client's connection."""
        return self._client.logins

    @property
    def usage(self) -> AddressUsage:
        """That of the client's address."""
        return self._client.usage

    # Used by the session.

    def start(self, data: bytes, *, length: int, is_complete: bool, is_login: bool = False) -> None:
        """Begin with the request's head and what there is of its body of `length`."""
        head, _, body = data.partition(b"\r\n\r\n")
        self._length = length
        if length == CHUNKED:
            self._decoder = ChunkDecoder()
        upstream = self._pool.servers[0].upstream
        host, port = ("localhost", 80) if upstream.unix_path is not None else upstream.address
        self._target = ("https" if upstream.is_tls else "http", host, port)
        self._flow = http.HTTPFlow(self._peer, connection.Server(address=(host, port), tls=upstream.is_tls))
        self._flow.request = build_request(head, *self._target, is_http2=self._peer.alpn == b"h2")
        self._flow.live = True
        self.send(body)
        if is_complete:
            self.finish()
        # Not at once: an addon may answer immediately, but the session expects no answer before `start` returns.
        self._tasks.append(self._hooks.run(self._guard(self._forward()), at_once=False))

    def send(self, data: bytes) -> None:
        """More of the body, framed for an upstream."""
        if self._decoder is not None:
            data, _ = self._decoder.feed(data)
        self._request.put(data)

    def finish(self) -> None:
        """The body is complete."""
        self._request.end([] if self._decoder is None else self._decoder.trailers)

    def cancel(self) -> None:
        """The client has gone, or wants no more of the response."""
        if not self._is_over:
            self._end("The client has gone, or a time limit is over.")

    def pause_reading(self) -> None:
        self._is_client_full = True
        self._pause_upstream()

    def resume_reading(self) -> None:
        self._is_client_full = False
        if not self._response.is_paused:
            self._resume_upstream()

    # Who waits for whom.

    def _pause_upstream(self) -> None:
        if self._exchange is not None:
            self._exchange.pause_reading()

    def _resume_upstream(self) -> None:
        if self._exchange is not None and not self._is_client_full:
            self._exchange.resume_reading()

    def _resume_client(self) -> None:
        if not self._is_upstream_full and not self._is_over:
            self._client.resume_body()

    def pause_body(self) -> None:
        self._is_upstream_full = True
        self._client.pause_body()

    def resume_body(self) -> None:
        self._is_upstream_full = False
        if not self._request.is_paused:
            self._client.resume_body()

    # The request.

    async def _forward(self) -> None:
        flow = self._flow
        if not self._greeting.done():
            await asyncio.wait((self._greeting,))
        await self._tell(HttpRequestHeadersHook(flow))
        request = flow.request
        if flow.response is not None:
            await self._answer_early()
            return
        if request.stream and request.data.content is None and not self._request.is_complete:
            await self._stream_request()
            return
        if request.headers.pop("expect", None) is not None and not self._request.is_complete:
            self._client.informational(ResponseHead(100, 1, [b"HTTP/1.1 100 Continue"]))
        content = await self._read_whole(request, self._request, status=413)
        await self._tell(HttpRequestHook(flow))
        if self._flow.response is not None:
            await self._respond(0)
            return
        request = flow.request
        if request.data.content is not None:
            content = request.data.content
        length, trailers = len(content), trailer_lines(request)
        if trailers:
            length, content = CHUNKED, encode_chunk(content) + encode_last_chunk(trailers)
        self._start(encode_request(request, length) + content, length=length, is_complete=True)

    async def _answer_early(self) -> None:
        """Send the response that an addon has set on seeing the head; the request's body is dropped.

        A client that waits for 100 (Continue) has not sent its body and gets the response at once.
        """
        if "expect" not in self._flow.request.headers:
            while await self._request.next():
                pass
        self._flow.request.data.content = b""
        await self._tell(HttpRequestHook(self._flow))
        await self._respond(0)

    async def _stream_request(self) -> None:
        request = self._flow.request
        length = CHUNKED if callable(request.stream) else self._length
        exchange = self._start(encode_request(request, length), length=length, is_complete=False)
        frame = encode_chunk if length == CHUNKED else bytes
        body = Streamed(request, is_kept=self._hooks.stores_bodies)
        while data := await self._request.next():
            exchange.send(frame(body.piece(data)))
        exchange.send(frame(body.rest()))
        add_trailers(request, self._request.trailers)
        request.timestamp_end = time.time()
        await self._tell(HttpRequestHook(self._flow))
        if length == CHUNKED:
            exchange.send(encode_last_chunk(trailer_lines(request)))
        exchange.finish()

    def _start(self, data: bytes, *, length: int, is_complete: bool) -> Exchange:
        request = self._flow.request
        target = (request.scheme, request.host, request.port)
        pool = self._pool if target == self._target else self._find_pool(*target)
        self._exchange = Exchange(self, pool, request.data.method, self._fields, asks_upgrade=self.asks_upgrade)
        # As the addons left it: they may log in for the client.
        self._exchange.start(data, length=length, is_complete=is_complete, is_login=is_login(request))
        return self._exchange

    async def _read_whole(self, message: http.Message, pieces: Pieces, *, status: int) -> bytes:
        """The whole body, put into the message if an addon asked for it. One that is too large fails with `status`.

        It is read but not kept if an addon has already put another one in its place.
        """
        parts, size = [], 0
        is_replaced = message.data.content is not None
        while data := await pieces.next():
            if is_replaced:
                continue
            parts.append(data)
            size += len(data)
            if size > self._hooks.body_limit:
                self._fail(status, "inspection_body_too_large", "the body is larger than addons may ask for")
                raise BrokenOff
            if not self._budget.take(len(data), self._hooks.body_limit):
                self._fail(503, "inspection_bodies_too_large", "the client's other bodies leave no room for this one")
                raise BrokenOff
            self._held += len(data)
        content = b"".join(parts)
        message.timestamp_end = time.time()
        if message.data.content is None:
            add_trailers(message, pieces.trailers)
            if content and message.stream:
                body = Streamed(message, is_kept=self._hooks.stores_bodies)
                return body.piece(content) + body.rest()
            message.data.content = content
        return content

    # The response: called by the exchange.

    def informational(self, head: ResponseHead) -> None:
        self._client.informational(head)

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        self._response.put(body)
        if is_complete:
            self._end_response([])
        elif self._is_client_full:
            self._pause_upstream()
        self._flow.response = build_response(head)
        self._tasks.append(self._hooks.run(self._guard(self._respond(head.length))))

    def response_data(self, data: bytes) -> None:
        self._response.put(data)

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None:
        self._response.put(data)
        self._end_response(trailers)

    def _end_response(self, trailers: list[bytes]) -> None:
        self._response.end(trailers)
        if not self._request.is_complete:
            self._request.break_off()  # the upstream does not need the rest

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None:
        self._websocket = WebSocketRelay(self._hooks, self._flow, connection, rest, self._budget)
        self._flow.response = build_response(head)
        self._tasks.append(self._hooks.run(self._guard(self._upgrade(self._websocket))))

    def exchange_failed(self, status: int, cause: str) -> None:
        self._fail(status, cause, cause)

    async def _respond(self, length: int) -> None:
        """Send the flow's response; `length` is that of the upstream's body."""
        await self._tell(HttpResponseHeadersHook(self._flow))
        response = self._present_response()
        has_body = not (self._is_head or response.status_code in BODILESS)
        if self._exchange is None:
            self._response.end([])
        elif response.data.content is not None or not has_body:
            self._drop_response(self._exchange)
        elif response.stream and not self._response.is_complete:
            await self._stream_response(response, length)
            return
        content = await self._read_whole(response, self._response, status=502)
        await self._tell(HttpResponseHook(self._flow))
        response = self._present_response()
        if response.data.content is not None:
            content = b"".join(
                (response.data.content,)
            )  # anything but bytes fails here, while there is a way to answer
        trailers = trailer_lines(response)
        if self._is_head or response.status_code in BODILESS:
            content, trailers = b"", []
        head = self._read_head(response, UNTIL_CLOSE if trailers else len(content))
        self._close()
        self._client.response_started(head, content, is_complete=not trailers)
        if trailers:
            self._client.response_ended(b"", trailers)

    def _drop_response(self, exchange: Exchange) -> None:
        """Stop reading the upstream's body: the client gets another one, or none."""
        self._response.take()
        if not self._response.is_complete:
            self._end_response([])
            exchange.cancel()

    async def _stream_response(self, response: http.Response, length: int) -> None:
        head = self._read_head(response, UNTIL_CLOSE if callable(response.stream) else length)
        body = Streamed(response, is_kept=self._hooks.stores_bodies)
        client = self._client
        client.response_started(head, body.piece(self._response.take()), is_complete=False)
        while data := await self._response.next():
            client.response_data(body.piece(data))
        rest = body.rest()
        add_trailers(response, self._response.trailers)
        response.timestamp_end = time.time()
        await self._tell(HttpResponseHook(self._flow))
        self._close()
        client.response_ended(rest, trailer_lines(response))

    async def _upgrade(self, relay: WebSocketRelay) -> None:
        flow = self._flow
        await self._tell(HttpResponseHeadersHook(flow))
        flow.websocket = WebSocketData()
        await self._tell(HttpResponseHook(flow))
        head = read_response(self._present_response(), UNTIL_CLOSE, is_head_request=False, fields=self._fields)
        if head.status != 101:
            raise BadMessage(Cause.BAD_STATUS_LINE)
        self._close()
        flow.live = True
        self._client.upgraded(head, b"", relay)

    def _read_head(self, response: http.Response, length: int) -> ResponseHead:
        if response.status_code < 200:
            raise BadMessage(Cause.BAD_STATUS_LINE)
        return read_response(response, length, is_head_request=self._is_head, fields=self._fields)

    def _present_response(self) -> http.Response:
        """The flow's response at this moment: an addon may have replaced it."""
        response = self._flow.response
        assert response is not None  # noqa: S101  set before the first hook that may change it
        return response

    # Hooks and ends.

    async def _tell(self, hook: StartHook) -> None:
        """Fire a hook. Raises BrokenOff if the exchange has ended or an addon or the user has killed the flow."""
        if self._is_over:
            raise BrokenOff
        # Every flow that addons have seen ends with either `response` or `error`.
        self._owes_outcome = not isinstance(hook, HttpResponseHook)
        await self._hooks.tell(hook, self._flow)
        if self._is_over:
            raise BrokenOff
        error = self._flow.error
        if error is not None and error.msg == Error.KILLED_MESSAGE:
            self._fail(0, "inspection_killed", error.msg)
            raise BrokenOff

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except BrokenOff:
            pass
        except BadMessage as error:
            log.error("inspection: a message can't be sent as an addon left it: %s", error.cause)
            self._fail(502, "inspection_failed", error.cause)
        except Exception:
            log.exception("inspection: a request failed")
            self._fail(502, "inspection_failed", "internal error")

    def _fail(self, status: int, cause: str, reason: str) -> None:
        """End without a response, or without the rest of it; a `status` of 0 cuts the client off without an answer."""
        if not self._is_over:
            self._end(reason)
            self._client.exchange_failed(status, cause)

    def _end(self, reason: str) -> None:
        exchange = self._exchange
        self._close()
        if exchange is not None:
            exchange.cancel()
        if self._websocket is not None:
            self._websocket.abort()
            self._websocket.tunnel_ended()
        self._flow.resume()  # in case the user has intercepted it: there is nobody to go on for
        if self._owes_outcome:
            self._flow.error = Error(reason)
            self._hooks.give_up(self._hooks.run(self._hooks.tell(HttpErrorHook(self._flow), self._flow)))

    def _close(self) -> None:
        """Expect nothing more, and leave no cycle that would keep the exchange for the garbage collector."""
        self._is_over = True
        self._flow.live = False
        self._request.break_off()
        self._response.break_off()
        self._budget.give_back(self._held)
        self._held = 0
        for task in self._tasks:
            self._hooks.give_up(task)
        self._tasks.clear()
        self._upstream, self._exchange = self.upstream, None
