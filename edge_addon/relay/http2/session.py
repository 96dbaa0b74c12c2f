"""One HTTP/2 connection of a client (RFC 9113): the framer reads and writes frames, each request is a `Stream`.

The session owns the connection: it passes frames to their streams, limits what the client may cost and how much may
wait for it, and ends the connection. What the streams send within one turn of the loop leaves in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from edge_addon.http.fields import Field, FieldTable
from edge_addon.http.limits import EARLY_BYTES, STALL_SECONDS
from edge_addon.http.refusal import BadMessage, Cause
from edge_addon.http.responses import Answer
from edge_addon.http.websocket_key import make_key
from edge_addon.relay.admission import Admission
from edge_addon.relay.http2.budget import SMALL_PIECE, Budget, Costly
from edge_addon.relay.http2.framer import Framer
from edge_addon.relay.http2.frames import FRAME_SIZE, Calm
from edge_addon.relay.http2.heads import answer_block, read_request, read_trailer_fields
from edge_addon.relay.http2.hpack import Fields
from edge_addon.relay.http2.send_queue import MAX_QUEUED
from edge_addon.relay.http2.stream import Stream
from edge_addon.relay.http2.windows import Window
from edge_addon.relay.http2.writer import MAX_UNSENT
from edge_addon.relay.report import Report
from edge_addon.transport.channel import Channel
from edge_addon.transport.timers import Timer
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.login import ClientLogins

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane


@dataclass(slots=True, eq=False, repr=False)
class Http2Session:
    """HTTP/2 on one client connection: the channel's `Session`, the streams' `Frames`, the framer's `Receiver`."""

    _channel: Channel
    _plane: DataPlane
    _: KW_ONLY
    is_full: bool = False
    is_write_paused: bool = False
    logins: ClientLogins = field(default_factory=lambda: ClientLogins(None))
    usage: AddressUsage = field(init=False)
    own_fields: tuple[Field, ...] = field(init=False)
    response_fields: FieldTable = field(init=False)
    _budget: Budget = field(init=False)
    _early: int = 0
    _idle_since: float = field(init=False)
    _framer: Framer = field(init=False)
    _admission: Admission = field(init=False)
    _head_timer: Timer | None = None
    _is_closed: bool = False
    _is_corked: bool = False
    _is_draining: bool = False
    _now: Callable[[], float] = field(init=False)
    _queued: int = 0
    _spare_timers: list[Timer] = field(default_factory=list)
    _streams: dict[int, Stream] = field(default_factory=dict)
    _timer: Timer = field(init=False)
    _will_flush: bool = False

    def __post_init__(self) -> None:
        plane = self._plane
        self._now = plane.timers.time
        self._admission = Admission(self._channel, plane)
        self.usage = plane.usage_of(self._channel.client.host)
        self.own_fields, self.response_fields = self._admission.own_fields, self._admission.response_fields
        self._idle_since = self._now()
        self._budget = Budget(self._idle_since)
        self._timer = plane.timers.timer()
        self._timer.set(plane.settings.limits.head_seconds, self._idled)
        limits, shares = plane.settings.limits, (plane.bounds.uploads, self.usage.uploads)
        self._framer = Framer(self, limits.header_bytes, limits.http2_streams, shares)
        self._flush()

    # The session, as its channel sees it.

    @property
    def is_idle(self) -> bool:
        return not self._streams

    @property
    def idle_since(self) -> float | None:
        return None if self._streams or self._is_closed else self._idle_since

    def data_received(self, data: bytes) -> None:
        if self._is_closed:
            return
        self._is_corked = True
        try:
            fault = self._framer.receive(data)
        finally:
            self._is_corked = False
        if fault is not None:
            self._end(f"http2_{fault.name.lower()}" if isinstance(fault, ErrorCodes) else f"http2_flood_{fault}")
            return
        self._flush()
        if self._framer.is_mid_head or self._head_timer is not None:
            self._watch_head()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        self._stop_timers()
        for stream in list(self._streams.values()):
            stream.connection_lost()
        self._streams.clear()
        self._framer.close()
        self._admission.gone()

    def pause_writing(self) -> None:
        """Produce nothing for a client that does not read, not even answers to its pings."""
        self.is_write_paused = True
        self._channel.pause_reading()
        for stream in list(self._streams.values()):
            stream.pause_upstream()
        if not self._streams and not self._is_closed:
            self._rest()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._channel.resume_reading()
        self._read_on()
        if not self._streams and not self._is_closed:
            self._rest()

    def tls_established(self) -> None:
        """Never called: HTTP has no STARTTLS."""

    def drain(self) -> None:
        """Send GOAWAY: finish the requests so far; the client may safely send later ones elsewhere."""
        if self._is_draining or self._is_closed:
            return
        self._is_draining = True
        if self._streams:
            self._framer.queue_goaway()
            self._flush()
        else:
            self._leave()

    # Called by the framer.

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        if self._is_draining:
            self._framer.forget(stream_id, ErrorCodes.REFUSED_STREAM)
            if not self.affords(Costly.RESET):
                raise Calm("requests_too_late")
            return
        self._timer.cancel()
        report = Report(self._channel, self._plane)
        try:
            head, key = read_request(fields, make_key, is_end=is_end)
            verdict = self._admission.admit(head)
        except BadMessage as error:
            self._refuse(stream_id, report, error, is_end=is_end)
            return
        # A cancelled timer stays in its wheel for a while: a new one for each request would add up.
        timer = self._spare_timers.pop() if self._spare_timers else self._plane.timers.timer()
        report.begin(head)
        stream = self._streams[stream_id] = Stream(self, self._plane, report, stream_id, head, timer, is_end)
        if not is_end and self._framer.inbound.is_low:
            for other in list(self._streams.values()):
                other.make_room()
        if isinstance(verdict, Answer):
            stream.answer(verdict)
        elif head.is_login:
            stream.require_http1()
            if not self.affords(Costly.RESET):
                raise Calm("logins")
        else:
            stream.relay(self._admission.exchange, verdict, self._admission.forwarded(head), websocket_key=key)

    def _refuse(self, stream_id: int, report: Report, error: BadMessage, *, is_end: bool) -> None:
        """Answer a malformed request; within the budget, the connection goes on (RFC 9113 §8.1.1)."""
        self._plane.count(f"request_{error.cause}")
        block = answer_block(Answer(error.status, error.cause), self.own_fields)
        self._framer.send_head(stream_id, block, is_end=True)
        self._framer.forget(stream_id, ErrorCodes.PROTOCOL_ERROR)
        report.answered(error.status)
        report.write(error.cause, None)
        if not self.affords(Costly.REFUSED):
            raise Calm("malformed_requests")
        self._rest()

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._framer.acknowledge(stream_id, flow_size)
            return
        stream.body(data, flow_size)
        if is_end:
            stream.body_ended([])

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        try:
            if not is_end:
                raise BadMessage(Cause.BAD_TRAILER)  # RFC 9113 §8.1: a second head that ends nothing
            lines = read_trailer_fields(fields)
        except BadMessage as error:
            stream.refuse(error.cause)
            return
        stream.body_ended(lines)

    def stream_over(self, stream_id: int, cause: str | None = None) -> None:
        if cause is not None:
            self._plane.count_and_tell(cause, f"an HTTP/2 request of {self._channel.client.host} was reset")
        if (stream := self._streams.get(stream_id)) is not None:
            stream.was_reset(cause)
        else:
            self._framer.forget(stream_id)

    def window_opened(self, stream_id: int) -> None:
        if not stream_id:
            for stream in list(self._streams.values()):
                if self._framer.outbound_flow_control_window <= 0:
                    return  # 128 streams would be asked for each byte
                stream.window_opened()
        elif (of_one := self._streams.get(stream_id)) is not None:
            of_one.window_opened()

    def client_leaves(self) -> None:
        self._is_draining = True
        if not self._streams:
            self._leave()

    def affords(self, kind: Costly) -> bool:
        return self._budget.spend(kind, self._now())

    # Called by the streams.

    def send_head(self, stream_id: int, block: bytes, *, is_end: bool, is_informational: bool = False) -> None:
        if not self._framer.send_head(stream_id, block, is_end=is_end, is_informational=is_informational):
            self._plane.count("http2_send_failed")
        self._flush_soon()

    def send_body(self, stream_id: int, data: bytes | memoryview, *, is_end: bool) -> int:
        sent = self._framer.send_body(stream_id, data, is_end=is_end)
        if sent is None:
            self._plane.count("http2_send_failed")
            return len(data)
        budget = self._budget
        budget.data_bytes += sent
        if sent == len(data) or sent >= SMALL_PIECE:
            budget.data_frames += 1 + sent // FRAME_SIZE
        if self._framer.unsent > MAX_UNSENT:
            self._flush()
        else:
            self._flush_soon()
        return sent

    def reset(self, stream_id: int, code: int) -> None:
        self._framer.reset(stream_id, code)
        self._flush_soon()

    def window(self, stream_id: int) -> Window:
        return self._framer.window(stream_id)

    def acknowledge(self, stream_id: int, size: int, borrowed: int = 0) -> None:
        self._framer.acknowledge(stream_id, size, borrowed)
        self._flush_soon()

    def lend(self, size: int) -> bool:
        cause = self._framer.inbound.borrow(size)
        if cause:
            self._plane.count(cause)
            return False
        self._framer.give_back(0)
        self._flush_soon()
        return True

    def relieve(self, size: int) -> bool:
        return len(self._streams) > 1 and self._framer.inbound.is_low and self.lend(size)

    def give_back(self, size: int) -> None:
        self._framer.inbound.shrink(size)

    def queue_changed(self, difference: int) -> None:
        """Stop all streams when too much waits, and go on when half of it has gone."""
        self._queued += difference
        if self._queued > MAX_QUEUED:
            if not self.is_full:
                self.is_full = True
                for stream in list(self._streams.values()):
                    stream.pause_upstream()
        elif self.is_full and self._queued <= MAX_QUEUED // 2:
            self.is_full = False
            self._read_on()

    def hold_early(self, difference: int) -> bool:
        if self._early + difference > EARLY_BYTES:
            return False
        self._early += difference
        return True

    def stream_ended(self, stream_id: int, timer: Timer, *, is_whole: bool) -> None:
        self._streams.pop(stream_id, None)
        self._spare_timers.append(timer)
        self._framer.forget(stream_id)
        if is_whole:
            self._budget.responses += 1
        self._rest()

    def _read_on(self) -> None:
        """Let one stream after the other go on; a stream that went on moves to the end.

        While the connection is full, streams send what waits, and read nothing more from their upstreams.
        """
        for stream_id in list(self._streams):
            if self._is_closed or self.is_write_paused:
                return
            stream = self._streams.pop(stream_id, None)
            if stream is not None:
                self._streams[stream_id] = stream
                if self.is_full:
                    stream.window_opened()
                else:
                    stream.read_on()
                self._flush()

    # Deadlines and ends.

    def _rest(self) -> None:
        """Without streams, wait for the next one, or leave after the last."""
        if self._streams or self._is_closed:
            return
        if self._is_draining:
            self._leave()
        else:
            self._idle_since = self._now()
            seconds = STALL_SECONDS if self.is_write_paused else self._plane.settings.limits.idle_seconds
            self._timer.set(seconds, self._idled)

    def _watch_head(self) -> None:
        """Limit the time of a header block: until it ends, the connection can't be used."""
        if not self._framer.is_mid_head:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self._plane.timers.timer()
            self._head_timer.set(self._plane.settings.limits.head_seconds, self._head_timed_out)

    def _head_timed_out(self) -> None:
        self._framer.leave(ErrorCodes.ENHANCE_YOUR_CALM)
        self._end("http2_head_timed_out")

    def _idled(self) -> None:
        if self._framer.is_mid_head:
            self._head_timed_out()
        else:
            self._leave()

    def _leave(self) -> None:
        """Send GOAWAY and close; nothing is under way."""
        if not self._is_closed:
            self._framer.leave()
            self._end(None)

    def _end(self, cause: str | None) -> None:
        """Send what is queued (after a fault, a GOAWAY), close, and give up the streams under way."""
        if self._is_closed:
            return
        if cause is not None:
            self._plane.count_and_tell(cause, f"an HTTP/2 connection of {self._channel.client.host} was ended")
        self._is_corked = False
        self._flush()
        self._is_closed = self._framer.is_over = True
        self._stop_timers()
        self._channel.close()
        for stream in list(self._streams.values()):
            stream.connection_lost(cause)

    def _stop_timers(self) -> None:
        self._timer.cancel()
        if self._head_timer is not None:
            self._head_timer.cancel()

    def _flush_soon(self) -> None:
        """Write at the end of this read, or of this turn of the loop."""
        if not (self._is_corked or self._will_flush or self._is_closed):
            self._will_flush = True
            self._plane.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        if not self._is_closed and (data := self._framer.data_to_send()):
            self._channel.write(data)
