"""One stream of an HTTP/2 connection: a request, and its response under flow control.

An `ExchangeClient` like the HTTP/1 session. The session owns the connection and the frames, a stream owns its queue:
the bytes that the client's window does not take yet. Meanwhile it does not read from the upstream.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from edge_addon.http import responses
from edge_addon.http.chunks import encode_chunk, encode_last_chunk
from edge_addon.http.framing import CHUNKED, RequestHead, ResponseHead
from edge_addon.http.limits import STALL_SECONDS, UPGRADE_SECONDS
from edge_addon.http.reframing import request_bytes
from edge_addon.http.refusal import Cause
from edge_addon.http.responses import Answer
from edge_addon.relay.http2 import frames as wire
from edge_addon.relay.http2.heads import answer_block, response_block, trailer_block
from edge_addon.relay.http2.interfaces import Frames
from edge_addon.relay.http2.send_queue import SendQueue
from edge_addon.relay.http2.stage import ANSWERED, ASKED, ENDING, OVER, Stage
from edge_addon.relay.http2.upgrade import PendingUpgrade
from edge_addon.relay.http2.upload import Upload
from edge_addon.relay.report import Report
from edge_addon.relay.tunnel import Tunnel
from edge_addon.transport.timers import Timer
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.connection import UpgradedConnection
from edge_addon.upstream.interfaces import ExchangeMaker, RequestExchange
from edge_addon.upstream.login import ClientLogins
from edge_addon.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane


@dataclass(slots=True, eq=False, repr=False)
class Stream:
    """From the request's head to the last byte of its response."""

    _frames: Frames
    _plane: DataPlane
    _report: Report
    stream_id: int
    _head: RequestHead
    timer: Timer
    """Lent by the connection, which takes it back when the stream ends."""
    _is_request_complete: bool
    _: KW_ONLY
    _exchange: RequestExchange | None = None
    _is_stalling: bool = False
    """Bytes wait for the client's window, or for its connection."""
    _outcome: str | None = None
    _queue: SendQueue = field(init=False)
    _stage: Stage = ASKED
    _trailers: bytes = b""
    _tunnel: Tunnel | None = None
    _upgrade: PendingUpgrade | None = None
    """A WebSocket while the upstream has not agreed."""
    _upload: Upload | None = None
    """The body, if there is one."""
    _upstream: str | None = None

    def __post_init__(self) -> None:
        self._queue = SendQueue(self._frames.queue_changed)
        if not self._is_request_complete:
            length = CHUNKED if self._head.is_upgrade else self._head.length
            self._upload = Upload(self._frames, self._plane.timers.time, self.stream_id, length)

    @property
    def logins(self) -> ClientLogins:
        return self._frames.logins

    @property
    def usage(self) -> AddressUsage:
        return self._frames.usage

    # The request.

    def answer(self, answer: Answer) -> None:
        """Answer without an upstream."""
        if answer.is_refusal:
            self._plane.count(answer.cause)
        self._send_answer(answer, answer.cause)

    def relay(
        self, make_exchange: ExchangeMaker, pool: UpstreamPool, forwarded: bytes, *, websocket_key: bytes
    ) -> None:
        """Send the request on; unless it is complete, `body` follows."""
        head, is_complete = self._head, self._is_request_complete
        if websocket_key:
            self._upgrade = PendingUpgrade(websocket_key, self._frames)
        exchange = self._exchange = make_exchange(
            self, pool, head.method, self._frames.response_fields, asks_upgrade=bool(websocket_key)
        )
        self._progress()
        data = request_bytes(head, forwarded, encode_last_chunk([]) if is_complete and head.length == CHUNKED else b"")
        exchange.start(data, length=head.length, is_complete=is_complete or bool(websocket_key))
        if self._frames.is_full:
            self.pause_upstream()

    def body(self, data: bytes, flow_size: int) -> None:
        """Send more of the request's body; its window opens again when the upstream keeps up."""
        upload = self._upload
        assert upload is not None  # noqa: S101  a request that is complete gets no body
        is_within = upload.received(len(data), flow_size)
        self._report.bytes_in += len(data)
        if self._tunnel is not None:
            self._tunnel.client_data(data)
        elif self._upgrade is not None:
            if not self._upgrade.hold(data):
                self._give_up(wire.ENHANCE_YOUR_CALM, "http2_early_data")
            return
        elif not is_within:
            self.refuse(Cause.BAD_LENGTH)  # beyond the Content-Length, a request is malformed (RFC 9113 §8.1.1)
            return
        elif self._exchange is not None and data:
            self._exchange.send(encode_chunk(data) if self._head.length == CHUNKED else data)
        upload.taken()
        waits_for_upstream = upload.is_paused or self._stage is not ASKED
        if waits_for_upstream or upload.rate.has_stepped(self._report.bytes_in):
            self._progress()

    def body_ended(self, trailers: list[bytes]) -> None:
        """Complete the request."""
        self._is_request_complete = True
        upload = self._upload
        if upload is not None:
            upload.complete()
        if self._tunnel is not None:
            self._tunnel.client_ended()
        elif self._exchange is not None and self._upgrade is None:
            if self._head.length == CHUNKED:
                self._exchange.send(encode_last_chunk(trailers))
            elif upload is not None and upload.is_short:
                self.refuse(Cause.BAD_LENGTH)
                return
            self._exchange.finish()
            self._progress()

    def refuse(self, cause: str) -> None:
        """Reset a request whose body is malformed: the upstream sees it break off, never end."""
        if self._stage is not OVER:
            self._give_up(wire.PROTOCOL_ERROR, cause, f"request_{cause}")

    def require_http1(self) -> None:
        """Send the client back over HTTP/1.1 (RFC 9113 §7): a login of a connection needs one of its own."""
        cause = "http2_login_needs_http1"
        self._plane.count(cause)  # it is nobody's fault, so the journal does not name it
        self._frames.reset(self.stream_id, wire.HTTP_1_1_REQUIRED)
        self._abandon(cause)

    def was_reset(self, cause: str | None) -> None:
        """Give up. `cause`: why we reset the stream, which has been counted; None where the client did."""
        self._abandon(cause or "client_gone")

    def connection_lost(self, cause: str | None = None) -> None:
        """`cause`: why we ended the connection, which has been counted; None where the client did."""
        if cause is None:
            self._plane.count("client_gone")
        self._abandon(cause or "client_gone")

    def window_opened(self) -> None:
        """Send what the client's window takes now."""
        if self._is_stalling and self._stage is not OVER:
            self._send_queue()

    def make_room(self) -> None:
        """Let other uploads of the connection go on, if this one stands still."""
        if self._upload is not None:
            self._upload.borrow()

    def read_on(self) -> None:
        """Go on after a pause of all streams of the connection."""
        if self._stage is not OVER:
            self._send_queue()

    def pause_upstream(self) -> None:
        """Stop reading from the upstream."""
        if self._tunnel is not None:
            self._tunnel.client_full()
        elif self._exchange is not None:
            self._exchange.pause_reading()

    # The response; called by the exchange.

    def informational(self, head: ResponseHead) -> None:
        if head.status != 100 or self._head.expects_continue:
            self._frames.send_head(self.stream_id, response_block(head, ()), is_end=False, is_informational=True)
        self._progress()

    def response_started(self, head: ResponseHead, body: bytes, *, is_complete: bool) -> None:
        self._report.answered(head.status)
        if head.is_login and head.status in (401, 407):
            self.require_http1()
            return
        self._stage = ANSWERED
        is_end = is_complete and not body
        self._drop_upgrade()
        self._frames.send_head(self.stream_id, response_block(head, self._frames.own_fields), is_end=is_end)
        if is_end:
            self._finish(None)
        else:
            self._queue_data(body, is_complete=is_complete)

    def response_data(self, data: bytes) -> None:
        self._queue_data(data, is_complete=False)

    def response_ended(self, data: bytes, trailers: list[bytes]) -> None:
        self._trailers = trailer_block(trailers)
        self._queue_data(data, is_complete=True)

    def upgraded(self, head: ResponseHead, rest: bytes, connection: UpgradedConnection) -> None:
        """Start a tunnel: 101 becomes 200, and DATA carries the tunnel's bytes (RFC 8441 §5)."""
        upgrade, self._upgrade = self._upgrade, None
        assert upgrade is not None  # noqa: S101  it was asked for
        early = upgrade.take_early()
        if not upgrade.is_accepted(head):
            connection.transport.abort()
            connection.tunnel_ended()
            self.exchange_failed(502, "upstream_bad_upgrade")
            return
        self._report.answered(200)
        self._stage = ANSWERED
        block = response_block(head, self._frames.own_fields, is_tunnel=True)
        self._frames.send_head(self.stream_id, block, is_end=False)
        self._tunnel = Tunnel(self, connection, self.timer, self._plane.settings.limits.idle_seconds, self._tunnel_over)
        self._tunnel.start(rest, early)
        if self._is_request_complete and self._tunnel is not None:
            self._tunnel.client_ended()
        if self._upload is not None:
            self._upload.taken()

    def exchange_failed(self, status: int, cause: str) -> None:
        self._plane.count(cause if cause.startswith(("upstream_", "inspection_")) else f"upstream_{cause}")
        if self._stage is not ASKED or not status:
            self._frames.reset(self.stream_id, wire.INTERNAL_ERROR)
            self._end(cause)
            return
        self._drop_upgrade()
        self._send_answer(responses.page(status, cause), cause)

    def pause_body(self) -> None:
        if self._upload is not None:
            self._upload.pause()
        self._progress()  # from now on it is the upstream that is late

    def resume_body(self) -> None:
        if self._upload is not None:
            self._upload.resume()
        self._progress()

    # The tunnel's client side.

    def write(self, data: bytes) -> None:
        if self._stage is not OVER:
            self._queue_data(data, is_complete=False)

    def close(self) -> None:
        """End the stream after the tunnel, once the queue has been sent."""
        if self._stage is ANSWERED:
            self._queue_data(b"", is_complete=True)

    pause_reading = pause_body
    resume_reading = resume_body

    def _tunnel_over(self, outcome: str) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            self._report.bytes_in = tunnel.bytes_in
        if outcome not in ("done", "client_gone") and self._stage is not OVER:
            self._plane.count(outcome)

    # Sending.

    def _send_answer(self, answer: Answer, outcome: str) -> None:
        """Send one of our own pages; the stream is over once the client's window has taken it."""
        self._stage = ANSWERED
        if self._exchange is not None:
            self._upstream, self._exchange = self._exchange.upstream, None
        self._report.answered(answer.status)
        body = b"" if self._head.method == b"HEAD" else answer.body
        self._frames.send_head(self.stream_id, answer_block(answer, self._frames.own_fields), is_end=not body)
        if body:
            self._outcome = outcome
            self._queue_data(body, is_complete=True)
        else:
            self._finish(outcome)

    def _queue_data(self, data: bytes, *, is_complete: bool) -> None:
        self._report.bytes_out += len(data)
        if is_complete:
            self._stage = ENDING
        self._queue.add(data)
        self._send_queue()

    def _send_queue(self) -> None:
        """Send what the windows take; go on reading from the upstream only if nothing is left."""
        queue = self._queue
        frames = self._frames
        sent = 0
        ends = self._stage is ENDING and not self._trailers
        if not frames.is_write_paused and (queue.data or ends):
            sent = frames.send_body(self.stream_id, queue.data, is_end=ends)
            queue.cut(sent)
            if ends and not queue.data:
                self._finish(self._outcome)
                return
        queue.report()
        if queue.data or frames.is_write_paused:
            self._stall(has_moved=sent > 0)
        elif self._stage is ENDING:
            frames.send_head(self.stream_id, self._trailers, is_end=True)
            self._finish(None)
        else:
            self._is_stalling = False
            self._go_on()

    def _go_on(self) -> None:
        if self._frames.is_full:
            self.pause_upstream()
        elif self._tunnel is not None:
            self._tunnel.client_drained()
        elif self._exchange is not None:
            self._exchange.resume_reading()
        self._progress()

    def _stall(self, *, has_moved: bool) -> None:
        """Wait for the client. Bytes that it takes move the deadline, useless window updates do not."""
        self.pause_upstream()
        if has_moved or not self._is_stalling:
            self._is_stalling = True
            self.timer.set(STALL_SECONDS, self._stalled)

    def _drop_upgrade(self) -> None:
        """What came too early is not needed. The rest of the stream's bytes is still no body of the request."""
        if self._upgrade is not None:
            self._upgrade.take_early()

    # Ends and deadlines.

    def _progress(self) -> None:
        if self._tunnel is not None or self._is_stalling or self._stage is OVER:
            return
        if self._upgrade is not None and self._stage is ASKED:
            self.timer.set(min(UPGRADE_SECONDS, self._plane.settings.limits.idle_seconds), self._timed_out)
        elif (
            self._is_request_complete
            or self._stage is not ASKED
            or (self._upload is not None and self._upload.is_paused)
        ):
            self.timer.set(self._plane.settings.limits.idle_seconds, self._timed_out)
        else:
            self.timer.set(STALL_SECONDS, self._stalled)

    def _timed_out(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
            self.exchange_failed(504, "upstream_timed_out")

    def _stalled(self) -> None:
        """Give up: the client keeps its window closed, or does not send the body that it announced."""
        self._give_up(wire.CANCEL, "client_stalled")

    def _finish(self, outcome: str | None) -> None:
        """End after a complete response. The rest of the request's body is not needed (RFC 9113 §8.1)."""
        if not self._is_request_complete:
            if self._exchange is not None:
                self._exchange.cancel()
            self._frames.reset(self.stream_id, wire.NO_ERROR)
        self._end(outcome, is_whole=True)

    def _give_up(self, code: int, outcome: str, counted: str = "") -> None:
        """Reset the stream. `counted`: the counter's name, where it is not that of the outcome."""
        self._plane.count_and_tell(counted or outcome, "an HTTP/2 request was reset")
        self._frames.reset(self.stream_id, code)
        self._abandon(outcome)

    def _abandon(self, outcome: str) -> None:
        if self._tunnel is not None:
            self._tunnel.client_lost()
        if self._exchange is not None:
            self._exchange.cancel()
        self._end(outcome)

    def _end(self, outcome: str | None, *, is_whole: bool = False) -> None:
        if self._stage is OVER:
            return
        self._stage = OVER
        self.timer.cancel()
        self._report.write(outcome, self._upstream if self._exchange is None else self._exchange.upstream)
        self._exchange = None
        self._drop_upgrade()
        self._queue.drop()
        if self._upload is not None:
            self._upload.close()
        self._frames.stream_ended(self.stream_id, self.timer, is_whole=is_whole)
