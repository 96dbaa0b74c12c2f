"""HTTP/2 towards the client (RFC 9113): the h2 library frames, streams go to the upstreams as HTTP/1.1 exchanges.

The session owns the connection: windows, limits, floods, the end. Each request is a `Stream`. Windows are sized so that
an upload that stands still never holds another one back, and a response waits in its own stream's queue only.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from edge_addon.channel import Channel
from edge_addon.relay import responses
from edge_addon.relay.gate import Gate
from edge_addon.relay.http2_budget import Budget, Costly
from edge_addon.relay.http2_heads import Fields, read_request, read_trailer_fields
from edge_addon.relay.http2_stream import NO_ERROR, Stream
from edge_addon.relay.refusal import BadMessage
from edge_addon.relay.report import Report
from edge_addon.relay.responses import Answer

if TYPE_CHECKING:
    from edge_addon.plane import Plane

MAX_STREAMS = 128
STREAM_WINDOW = 256 * 1024
"""Bytes of a request's body that may be on their way: 5 MB/s at a round trip of 50 ms."""
CONNECTION_WINDOW = 16 * STREAM_WINDOW
"""So many uploads have to stand still before they hold up the others of their connection; also what one can hold."""
HEADER_TABLE = 4096
FRAME = 16384
CLOSED_STREAMS = 1000
"""Ended streams that h2 remembers, to tell a late frame from a wrong one."""

ENHANCE_YOUR_CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
REFUSED_STREAM = h2.errors.ErrorCodes.REFUSED_STREAM
_CONTROL = (
    h2.events.PingReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)


class _Connection(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS


class Http2Session:
    """One client connection's HTTP/2: a `Session` for its channel, the `Frames` of its streams."""

    __slots__ = (
        "_budget",
        "_channel",
        "_gate",
        "_h2",
        "_is_closed",
        "_is_corked",
        "_is_draining",
        "_last_stream",
        "_plane",
        "_streams",
        "_timer",
        "hsts",
        "is_write_paused",
    )

    def __init__(self, channel: Channel, plane: Plane) -> None:
        self._channel = channel
        self._plane = plane
        self._gate = Gate(channel, plane)
        self.hsts = self._gate.hsts
        self._budget = Budget()
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        self._is_closed = self._is_draining = self._is_corked = self.is_write_paused = False
        self._timer = plane.timers.timer()
        self._timer.set(plane.settings.limits.head_seconds, self._idled)
        self._h2 = _Connection(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._begin_connection(plane.settings.limits.header_bytes)

    def _begin_connection(self, header_bytes: int) -> None:
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.HEADER_TABLE_SIZE: HEADER_TABLE,
                codes.ENABLE_PUSH: 0,
                codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                codes.MAX_FRAME_SIZE: FRAME,
                codes.MAX_HEADER_LIST_SIZE: header_bytes,
                codes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self._h2.decoder.max_header_list_size = header_bytes
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self._flush()

    # The session, as its channel sees it.

    @property
    def is_idle(self) -> bool:
        return not self._streams

    def data_received(self, data: bytes) -> None:
        if self._is_closed:
            return
        self._is_corked = True
        try:
            for event in self._h2.receive_data(data):
                if not self._is_closed:
                    self._handle(event)
        except h2.exceptions.ProtocolError as error:
            code = h2.errors.ErrorCodes(getattr(error, "error_code", h2.errors.ErrorCodes.PROTOCOL_ERROR))
            self._end(f"http2_{code.name.lower()}")
            return
        finally:
            self._is_corked = False
        # What the client announces for its own decoder is an upper bound; ours would grow by as much.
        self._h2.encoder.header_table_size = min(self._h2.encoder.header_table_size, HEADER_TABLE)
        self._flush()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        self._timer.cancel()
        for stream in list(self._streams.values()):
            stream.connection_lost()
        self._streams.clear()

    def pause_writing(self) -> None:
        """The client does not read: nothing more is made for it, not even answers to its pings."""
        self.is_write_paused = True
        self._channel.pause_reading()
        for stream in list(self._streams.values()):
            stream.write_paused()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._channel.resume_reading()
        self._open_windows()

    def tls_established(self) -> None:
        """HTTP has no STARTTLS."""

    def drain(self) -> None:
        """GOAWAY: what has come is finished, what comes from now on the client may safely send elsewhere."""
        if self._is_draining or self._is_closed:
            return
        self._is_draining = True
        self._channel.write(GoAwayFrame(0, last_stream_id=self._last_stream, error_code=NO_ERROR).serialize())
        if not self._streams:
            self._end(None)

    # Events.

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._request(event)
        elif isinstance(event, h2.events.DataReceived):
            self._data(event)
        elif isinstance(event, h2.events.WindowUpdated):
            if not self._budget.spend(Costly.WINDOW):
                self._calm("window_updates")
            elif event.stream_id:
                if (stream := self._streams.get(event.stream_id)) is not None:
                    stream.window_opened()
            else:
                self._open_windows()
        elif isinstance(event, h2.events.StreamEnded):
            if event.stream_id in self._streams and not self._is_unread_end(event):
                self._streams[event.stream_id].body_ended([])
        elif isinstance(event, h2.events.StreamReset):
            self._reset_by_client(event)
        elif isinstance(event, h2.events.TrailersReceived):
            self._trailers(event)
        elif isinstance(event, _CONTROL):
            self._control(event)

    def _is_unread_end(self, event: h2.events.StreamEnded) -> bool:
        """A stream that ended with its head or its trailers has been told there."""
        return self._streams[event.stream_id].is_request_complete

    def _request(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None  # noqa: S101
        self._last_stream = stream_id
        if self._is_draining:
            self.reset(stream_id, REFUSED_STREAM)
            return
        self._timer.cancel()
        is_complete = event.stream_ended is not None
        key = base64.b64encode(secrets.token_bytes(16))
        report = Report(self._channel, self._plane)
        try:
            request = read_request(event.headers or (), key, has_body=not is_complete)
            verdict = self._gate.admit(request.head)
        except BadMessage as error:
            self._refuse(stream_id, report, error, is_complete=is_complete)
            return
        stream = self._streams[stream_id] = Stream(
            self, self._plane, report, stream_id, request.head, is_request_complete=is_complete
        )
        if isinstance(verdict, Answer):
            stream.answer(verdict)
        else:
            stream.relay(
                verdict, self._gate.forwarded(request.head), websocket_key=key if request.opens_tunnel else b""
            )

    def _refuse(self, stream_id: int, report: Report, error: BadMessage, *, is_complete: bool) -> None:
        """A malformed request: its own page, and the connection goes on, within the budget."""
        self._plane.count(f"request_{error.cause}")
        if not self._budget.spend(Costly.REFUSED):
            self._calm("malformed_requests")
            return
        answer = responses.page(error.status, error.cause)
        self.send_fields(stream_id, [(b":status", b"%d" % error.status), (b"content-length", b"0")], is_end=True)
        if not is_complete:
            self.reset(stream_id, NO_ERROR)
        report.answered(answer.status)
        report.write(error.cause, None)
        self._rest()

    def _data(self, event: h2.events.DataReceived) -> None:
        stream_id, size = event.stream_id, event.flow_controlled_length or 0
        assert stream_id is not None  # noqa: S101
        data = event.data or b""
        if not data and not self._budget.spend(Costly.CONTROL):
            self._calm("empty_data")
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self.acknowledge(stream_id, size)
        else:
            stream.body(data, size)

    def _trailers(self, event: h2.events.TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id or 0)
        if stream is None:
            return
        try:
            stream.body_ended(read_trailer_fields(event.headers or ()))
        except BadMessage as error:
            self._plane.count(f"request_{error.cause}")
            self.reset(stream.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            stream.client_reset()

    def _reset_by_client(self, event: h2.events.StreamReset) -> None:
        if (stream := self._streams.get(event.stream_id or 0)) is not None:
            stream.client_reset()
        if not self._budget.spend(Costly.RESET):
            self._calm("rapid_reset")

    def _control(self, event: h2.events.Event) -> None:
        if not self._budget.spend(Costly.CONTROL):
            self._calm("control_frames")
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._open_windows()  # the initial window may have grown

    def _open_windows(self) -> None:
        for stream in list(self._streams.values()):
            if self._is_closed or self.is_write_paused:
                return
            stream.window_opened()

    # The frames, as streams see them.

    def send_fields(self, stream_id: int, fields: Fields, *, is_end: bool) -> None:
        try:
            self._h2.send_headers(stream_id, fields, end_stream=is_end)
        except h2.exceptions.ProtocolError:
            self._plane.count("http2_send_failed")  # the stream or the connection ended within this very read
        self._flush()

    def send_data(self, stream_id: int, data: bytes, *, is_end: bool) -> int:
        connection = self._h2
        sent = 0
        try:
            window = connection.local_flow_control_window(stream_id)
            size = min(len(data), window)
            while sent < size:
                piece = data[sent : min(sent + FRAME, size)]
                sent += len(piece)
                connection.send_data(stream_id, piece, end_stream=is_end and sent == len(data))
                self._budget.sent_data()
            if not data and is_end:
                connection.end_stream(stream_id)
        except h2.exceptions.ProtocolError:
            self._plane.count("http2_send_failed")
            sent = len(data)
        self._flush()
        return sent

    def reset(self, stream_id: int, code: int) -> None:
        try:
            self._h2.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            pass  # it has ended already
        self._flush()

    def acknowledge(self, stream_id: int, size: int) -> None:
        try:
            if size:
                self._h2.acknowledge_received_data(size, stream_id)
        except h2.exceptions.ProtocolError:
            pass  # the stream has ended; h2 opens the connection's window all the same
        self._flush()

    def stream_ended(self, stream: Stream, *, is_whole: bool) -> None:
        self._streams.pop(stream.stream_id, None)
        if is_whole:
            self._budget.renew()
        self._rest()

    # Ends.

    def _rest(self) -> None:
        """Without a stream the connection waits for the next one, or has done its work."""
        if self._streams or self._is_closed:
            return
        if self._is_draining:
            self._end(None)
        else:
            self._timer.set(self._plane.settings.limits.idle_seconds, self._idled)

    def _idled(self) -> None:
        if not self._is_closed:
            self._h2.close_connection(last_stream_id=self._last_stream)
            self._end(None)

    def _calm(self, cause: str) -> None:
        """ENHANCE_YOUR_CALM: costs without an end (RFC 9113 §10.5)."""
        if not self._is_closed:
            self._h2.close_connection(ENHANCE_YOUR_CALM, last_stream_id=self._last_stream)
            self._end(f"http2_flood_{cause}")

    def _end(self, cause: str | None) -> None:
        """Say what is queued (a GOAWAY, where there was a fault), close; streams under way are given up."""
        if self._is_closed:
            return
        if cause is not None:
            self._plane.count(cause)
        self._is_corked = False
        self._flush()
        self._is_closed = True
        self._timer.cancel()
        self._channel.close()
        for stream in list(self._streams.values()):
            stream.connection_lost()

    def _flush(self) -> None:
        if not self._is_corked and not self._is_closed and (data := self._h2.data_to_send()):
            self._channel.write(data)
