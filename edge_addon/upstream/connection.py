"""One connection to a web server behind the edge: sends requests as given and reads the responses strictly.

Knows the framing of responses and the exchange that it works for; nothing of clients, sites or TLS (its transport is a
`server_tls` one then). After any violation of the protocol a connection is closed and never used again: one byte too
many after a response would become the start of another client's response.
"""

from __future__ import annotations

import asyncio
import select
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum, auto
from typing import Protocol, cast

from edge_addon.http.chunks import ChunkDecoder
from edge_addon.http.fields import FieldTable, response_fields
from edge_addon.http.framing import BODILESS, CHUNKED, UNTIL_CLOSE, ResponseHead, parse_response
from edge_addon.http.limits import MAX_INFORMATIONAL, POOL_REST_SECONDS
from edge_addon.http.partial_head import PartialResponse
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.transport.tcp import enable_keepalive_of, unread_data
from edge_addon.upstream.bounds import AddressUsage


class PoolOwner(Protocol):
    """The server of a pool that a connection belongs to."""

    @property
    def name(self) -> str:
        """The upstream's URL, for logs."""

    def give_back(self, connection: UpstreamConnection) -> None:
        """The connection can serve another request."""

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is closed, whether it was idle or in use."""


class UpgradedConnection(Protocol):
    """An upstream connection that a tunnel has taken over."""

    @property
    def transport(self) -> asyncio.Transport: ...

    def tunnel_ended(self) -> None:
        """The tunnel has closed the connection."""


class ResponseReader(Protocol):
    """What gets the parts of a response, and paces the request's body."""

    def informational(self, head: ResponseHead) -> None:
        """A 1xx response other than 101."""

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        """The final head, and the part of the body that came with it."""

    def response_data(self, data: bytes) -> None: ...

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None:
        """The last bytes of the body; the connection is already back in its pool, or closed."""

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None:
        """101: the reader now owns the connection; `rest` are the first bytes of the new protocol."""

    def pause_body(self) -> None:
        """The upstream does not keep up with the request body."""

    def resume_body(self) -> None: ...


class ResponseReceiver(ResponseReader, Protocol):
    """What a connection works for until the response has ended or failed."""

    def login_seen(self, connection: UpstreamConnection, head: ResponseHead) -> None:
        """The response is part of a login that belongs to the connection; called before everything else about it."""

    def upstream_failed(self, cause: str, *, is_lost: bool) -> None:
        """No (more) response. `is_lost`: the connection ended; otherwise the response was refused."""


class _Stage(Enum):
    IDLE = auto()
    HEAD = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()
    CLOSED = auto()


@dataclass(slots=True, eq=False, repr=False)
class UpstreamConnection(asyncio.Protocol):
    """Made by its `PoolOwner`, which keeps it while it is idle. It keeps nothing of a request afterwards."""

    owner: PoolOwner
    _max_head: int
    _: KW_ONLY
    is_active: bool = False
    """Whether the owner counts it as in use; set by the owner."""
    usage: AddressUsage | None = None
    """What the client's address uses, while the connection is in use; set by the pool."""
    is_open: bool = False
    """Whether it counts as open; set by the owner."""
    is_reused: bool = False
    idle_since: float = 0.0
    has_answered: bool = False
    """A byte of the response to the current request has come."""
    has_ended: bool = False
    """The server closed it without a reset; known once it is lost."""
    transport: asyncio.Transport = field(init=False)
    _receiver: ResponseReceiver | None = None
    _stage: _Stage = _Stage.IDLE
    _readable: select.poll | None = None
    _left: int = 0
    _informational: int = 0
    _partial: PartialResponse | None = None
    _decoder: ChunkDecoder | None = None
    _fields: FieldTable = field(init=False)
    _head: ResponseHead | None = None
    _is_head_request: bool = False
    _asks_upgrade: bool = False
    _is_request_complete: bool = False
    _is_paused: bool = False

    @property
    def is_usable(self) -> bool:
        return self._stage is _Stage.IDLE and not self.transport.is_closing() and not self._has_unread()

    def _has_unread(self) -> bool:
        """The socket holds data or an end that the loop has not read yet; neither belongs to the next request."""
        if self._readable is None:
            self._readable = select.poll()
            self._readable.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(self._readable.poll(0))

    # Used by the exchange.

    def begin(
        self,
        receiver: ResponseReceiver,
        data: bytes,
        fields: FieldTable = response_fields,
        *,
        is_head: bool,
        asks_upgrade: bool,
        is_complete: bool,
    ) -> None:
        """Send a request, or the part that has come so far. `fields`: what happens to each field of the response."""
        self._receiver = receiver
        self._fields = fields
        self._stage = _Stage.HEAD
        self._is_head_request = is_head
        self._asks_upgrade = asks_upgrade
        self._is_request_complete = is_complete
        self._informational = 0
        self.has_answered = False
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more of the request body, already framed."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def finish_request(self) -> None:
        """The request has been written completely."""
        self._is_request_complete = True

    def abandon(self) -> None:
        """Close: the exchange wants no response, and the rest of one can't be skipped."""
        self._receiver = None
        self._close()

    def pause_reading(self) -> None:
        if self._stage is not _Stage.CLOSED:
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and self._stage is not _Stage.CLOSED:
            self._is_paused = False
            self.transport.resume_reading()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        enable_keepalive_of(transport)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._close()  # a response without a request
            return
        self.has_answered = True
        try:
            if self._stage is _Stage.HEAD:
                self._read_head(receiver, data)
            elif self._stage is _Stage.LENGTH:
                self._read_length(receiver, data)
            elif self._stage is _Stage.CHUNKED:
                self._read_chunked(receiver, data)
            elif self._stage is _Stage.UNTIL_CLOSE:
                receiver.response_data(data)
        except BadMessage as error:
            self._fail(error.cause, is_lost=False)

    def eof_received(self) -> bool:
        if self._stage is _Stage.UNTIL_CLOSE and self._receiver is not None:
            self._complete(self._receiver, b"", is_clean=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # Linux reports EPIPE, not ECONNRESET, when a reset follows a FIN.
        self.has_ended = exc is None or isinstance(exc, BrokenPipeError)
        if exc is not None and self._receiver is not None:
            # A response that it sent before it closed the connection during our body.
            for data in unread_data(self.transport):
                self.data_received(data)
        stage, self._stage = self._stage, _Stage.CLOSED
        receiver, self._receiver = self._receiver, None
        self.owner.lost(self)
        if receiver is None:
            return
        if stage is _Stage.UNTIL_CLOSE and exc is None:
            receiver.response_ended(b"", [])
        else:
            receiver.upstream_failed("upstream_gone", is_lost=True)

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.pause_body()

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.resume_body()

    # Reading a response.

    def _read_head(self, receiver: ResponseReceiver, data: bytes) -> None:
        if self._partial is not None:
            whole = self._partial.feed(data)
            if whole is None:
                return
            data, self._partial = whole, None
        while data:
            end = data.find(b"\r\n\r\n")
            if end > self._max_head:
                raise BadMessage(Cause.HEAD_TOO_LARGE)
            if end < 0:
                self._partial = PartialResponse(self._max_head)
                self._partial.feed(data)
                return
            head = parse_response(data[:end], is_head_request=self._is_head_request, fields=self._fields)
            data = data[end + 4 :]
            if head.status >= 200:
                self._start_body(receiver, head, data)
                return
            if head.status == 101:
                self._upgrade(receiver, head, data)
                return
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise BadMessage(Cause.TOO_MANY_INFORMATIONAL)
            receiver.informational(head)
            if self._receiver is not receiver:
                return

    def _start_body(self, receiver: ResponseReceiver, head: ResponseHead, data: bytes) -> None:
        self._head = head
        if head.is_login:
            receiver.login_seen(self, head)
        length = head.length
        if length >= 0:
            if len(data) >= length:
                self._release(is_clean=len(data) == length)
                receiver.response_started(head, data[:length], is_complete=True)
                return
            self._left = length - len(data)
            self._stage = _Stage.LENGTH
            receiver.response_started(head, data, is_complete=False)
        elif length == UNTIL_CLOSE:
            self._stage = _Stage.UNTIL_CLOSE
            receiver.response_started(head, data, is_complete=False)
        else:
            assert length == CHUNKED  # noqa: S101
            self._decoder = ChunkDecoder()
            self._stage = _Stage.CHUNKED
            body, rest = self._decoder.feed(data)
            if rest is not None and not self._decoder.trailers:
                self._release(is_clean=not rest)
                receiver.response_started(head, body, is_complete=True)
                return
            receiver.response_started(head, body, is_complete=False)
            if rest is not None:
                self._complete(receiver, b"", is_clean=not rest)

    def _read_length(self, receiver: ResponseReceiver, data: bytes) -> None:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            receiver.response_data(data)
        else:
            self._complete(receiver, data[: self._left], is_clean=left == 0)

    def _read_chunked(self, receiver: ResponseReceiver, data: bytes) -> None:
        assert self._decoder is not None  # noqa: S101
        body, rest = self._decoder.feed(data)
        if rest is not None:
            self._complete(receiver, body, is_clean=not rest)
        elif body:
            receiver.response_data(body)

    def _complete(self, receiver: ResponseReceiver, data: bytes, *, is_clean: bool) -> None:
        trailers = self._decoder.trailers if self._decoder is not None else []
        self._release(is_clean=is_clean)
        receiver.response_ended(data, trailers)

    def _release(self, *, is_clean: bool) -> None:
        """The response is complete: back to the pool, unless the connection can't be used again."""
        self._receiver = None
        self._decoder = None
        head = self._head
        self._head = None
        is_sent = self._is_request_complete and not self.transport.get_write_buffer_size()
        if not (is_clean and is_sent and head is not None and head.keep_alive):
            self._close()
            return
        self.resume_reading()
        self._stage = _Stage.IDLE
        if self._is_head_request or head.status in BODILESS:
            asyncio.get_running_loop().call_later(POOL_REST_SECONDS, self._rest_ended)
        else:
            self.owner.give_back(self)

    def _rest_ended(self) -> None:
        if self._stage is _Stage.IDLE:
            self.owner.give_back(self)

    def _upgrade(self, receiver: ResponseReceiver, head: ResponseHead, rest: bytes) -> None:
        if not self._asks_upgrade or head.upgrade is None or head.upgrade.lower() != b"websocket":
            raise BadMessage(Cause.UNASKED_UPGRADE)
        self._receiver = None
        receiver.upgraded(head, rest, self)

    def _fail(self, cause: str, *, is_lost: bool) -> None:
        receiver, self._receiver = self._receiver, None
        self._close()
        if receiver is not None:
            receiver.upstream_failed(cause, is_lost=is_lost)

    def _close(self) -> None:
        if self._stage is not _Stage.CLOSED:
            self._stage = _Stage.CLOSED
            self._partial = None
            # close() would first send the rest of a body that nobody wants.
            self.transport.abort()

    def close_idle(self) -> None:
        """Close an idle connection, with nothing left to read or write."""
        self._stage = _Stage.CLOSED
        self.transport.close()

    def tunnel_ended(self) -> None:
        """The tunnel that owned the connection has closed it."""
        self._stage = _Stage.CLOSED
        self.owner.lost(self)
