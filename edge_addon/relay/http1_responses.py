"""The sending side of one HTTP/1 connection: our own answers, and the response to the current request.

Frames each response anew, for the client's version and for what becomes of the connection. Knows nothing of what the
client sends; the session, which reads that, says what comes next.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from edge_addon.http import responses
from edge_addon.http.chunks import encode_chunk, encode_last_chunk
from edge_addon.http.framing import ResponseHead
from edge_addon.http.reframing import bare_head, response_bytes
from edge_addon.relay.admission import Admission
from edge_addon.relay.report import Report
from edge_addon.transport.channel import Channel
from edge_addon.upstream.interfaces import RequestExchange

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane


class Phase(Enum):
    """What the client's bytes belong to."""

    HEAD = auto()  # between requests, or in the middle of a head
    BODY = auto()  # reading a request's body; its response may have begun
    WAIT = auto()  # the request is complete, its response is not
    TUNNEL = auto()
    CLOSED = auto()


@dataclass(slots=True, eq=False, repr=False)
class Http1Responses:
    """The base of the session, which has the fields that are shared and answers the three calls at the end."""

    _channel: Channel
    _plane: DataPlane
    _: KW_ONLY
    _admission: Admission = field(init=False)
    _buffer: bytes | bytearray = b""
    """What waits until the answer before it is complete."""
    _exchange: RequestExchange | None = None
    _has_answered: bool = False
    _is_chunked: bool = False
    _is_closing: bool = False
    _is_draining: bool = False
    _is_eof: bool = False
    _is_write_paused: bool = False
    _phase: Phase = Phase.HEAD
    _report: Report = field(init=False)

    def _write_answer(self, answer: responses.Answer, *, is_last: bool) -> None:
        """Write an answer; after one with `is_last` the caller closes the connection."""
        head = self._report.head
        connection = b"close" if is_last else None if head is not None and head.minor else b"keep-alive"
        is_head = head is not None and head.method == b"HEAD"
        self._report.answered(answer.status)
        self._report.bytes_out = 0 if is_head else len(answer.body)
        self._has_answered = True
        self._channel.write(
            responses.encode_answer(
                answer, self._plane.clock(), self._admission.own_fields, is_head=is_head, connection=connection
            ),
            more=is_last,
        )

    # Responses: called by the exchange.

    def informational(self, head: ResponseHead) -> None:
        """Pass on 1xx to HTTP/1.1 clients, and 100 only to one that waits for it."""
        request = self._report.head
        assert request is not None  # noqa: S101
        if request.minor and (head.status != 100 or request.expects_continue):
            self._channel.write(bare_head(head))
        self._progress()

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        request = self._report.head
        assert request is not None  # noqa: S101
        is_last = (
            not request.keep_alive
            or self._phase is Phase.BODY  # the rest of the body may never come
            or self._is_draining
            or (self._is_eof and not self._buffer)
        )
        self._report.answered(head.status)
        self._report.bytes_out = len(body)
        self._has_answered = True
        data, self._is_chunked, self._is_closing = response_bytes(
            head, body, request.minor, self._admission.own_fields, is_complete=is_complete, is_last=is_last
        )
        self._channel.write(data, more=is_complete and self._is_closing)
        if is_complete:
            self._finish()
            return
        if self._is_write_paused and self._exchange is not None:
            self._exchange.pause_reading()
        self._progress()

    def response_data(self, data: bytes) -> None:
        self._report.bytes_out += len(data)
        self._channel.write(encode_chunk(data) if self._is_chunked else data)
        self._progress()

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None:
        self._report.bytes_out += len(data)
        if self._is_chunked:
            data = encode_chunk(data) + encode_last_chunk(trailers)
        if data:
            self._channel.write(data, more=self._is_closing)
        self._finish()

    # Answered by the session.

    def _progress(self) -> None:
        """Set the deadline for the next step, after something has moved."""
        raise NotImplementedError

    def _finish(self, outcome: str | None = None) -> None:
        """Go on after a complete response."""
        raise NotImplementedError
