"""The frames of one HTTP/2 connection, server side: the h2 library without the parts that a client can abuse.

h2 keeps the settings, the windows, the states of the streams and the rarer frames. Frame headers, HEADERS, CONTINUATION
and DATA are read here, because h2 4.3 buffers 16 MB of a frame before it checks the length, keeps an entry for each of
65,536 unknown settings, ends the connection for one stream too many or at the client's GOAWAY, and takes three quarters
of a request's time. mitmproxy pins h2 to one release, so the replaced parts can't change unnoticed.

Knows nothing of HTTP but which header block opens a stream and which one ends it. Reports to its `Receiver` frame by
frame, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.connection import ConnectionInputs, ConnectionState
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from hyperframe.exceptions import HyperframeError, InvalidFrameError
from hyperframe.frame import FRAMES, Frame, SettingsFrame

from edge_addon.relay.http2.budget import Costly
from edge_addon.relay.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    GOAWAY,
    HEADER,
    HEADERS,
    MAX_CONTINUATIONS,
    MAX_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Calm,
    Fault,
    pack_number,
    strip,
)
from edge_addon.relay.http2.hpack import TABLE_SIZE, BadBlock, BlockTooLarge, Decoder, Fields
from edge_addon.relay.http2.windows import STREAM_WINDOW, Window
from edge_addon.relay.http2.writer import FrameWriter, takes_more
from edge_addon.upstream.bounds import Share

_SETTINGS_IN_USE = frozenset(int(code) for code in h2.settings.SettingCodes)


class Receiver(Protocol):
    """Gets what was read. It may send within these calls, and end the connection."""

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None: ...

    def stream_over(self, stream_id: int, cause: str | None = None) -> None:
        """A stream was reset. `cause`: why we did that; None where the client did."""

    def window_opened(self, stream_id: int) -> None:
        """A window grew; `stream_id` 0: that of the connection, or those of all streams."""

    def client_leaves(self) -> None:
        """The client sent GOAWAY; its requests under way still need answers."""

    def affords(self, kind: Costly) -> bool:
        """Whether the client may send one more frame of this kind."""


class Framer(FrameWriter):
    """Created for each connection; `receive` takes bytes, `data_to_send` returns the bytes to write."""

    def __init__(self, receiver: Receiver, header_bytes: int, max_streams: int, shares: Sequence[Share] = ()) -> None:
        super().__init__(header_bytes, max_streams, shares)
        self._max_streams = max_streams
        self._receiver = receiver
        self._fields = Decoder(header_bytes)
        self._header_bytes = header_bytes
        self._parts: list[bytes] = []
        """The beginning of a frame, in the pieces in which it came."""
        self._size = self._needed = 0
        self._preface = PREFACE
        self._has_settings = False
        self._block: list[bytes] = []
        self._block_stream = self._block_flags = self._block_size = 0
        self._gathered: list[bytes] = []
        self._gathered_stream = self._gathered_size = 0
        self.is_over = False
        """Nothing more is read."""

    @property
    def is_mid_head(self) -> bool:
        """The client owes the rest of a header block and may send nothing else before it (RFC 9113 §6.10)."""
        return self._block_stream != 0

    # Reading.

    def receive(self, data: bytes) -> ErrorCodes | str | None:
        """Read bytes. If they break the connection, queue a GOAWAY and return the reason."""
        try:
            self._read(data)
        except Calm as error:
            return self._break(error.error_code, str(error))
        except BlockTooLarge:
            return self._break(ErrorCodes.ENHANCE_YOUR_CALM, "header_list")
        except BadBlock:
            return self._break(ErrorCodes.COMPRESSION_ERROR)
        except ProtocolError as error:
            return self._break(ErrorCodes(error.error_code))
        except InvalidFrameError:
            return self._break(ErrorCodes.FRAME_SIZE_ERROR)
        except HyperframeError:
            return self._break(ErrorCodes.PROTOCOL_ERROR)
        return None

    def _break(self, code: ErrorCodes, text: str | None = None) -> ErrorCodes | str:
        self.leave(code)
        return text or code

    def leave(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Queue the last GOAWAY and read nothing more."""
        self.is_over = True
        self._parts.clear()
        self._block.clear()
        self.queue_goaway(code)

    def close(self) -> None:
        """Leave no cycle that would keep the connection's objects for the garbage collector. Nothing is read again."""
        self.is_over = True
        self.inbound.close()
        self._frame_dispatch_table.clear()
        del self._receiver

    def _read(self, data: bytes) -> None:
        if self._preface:
            data = self._read_preface(data)
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        buffer, position, size, needed = data, 0, len(data), 9
        while size - position >= 9 and not self.is_over:
            high, low, kind, flags, stream_id = HEADER.unpack_from(buffer, position)
            length = high << 8 | low
            if length > FRAME_SIZE:
                raise Fault(ErrorCodes.FRAME_SIZE_ERROR, "a frame beyond MAX_FRAME_SIZE")
            end = position + 9 + length
            if end > size:
                needed = 9 + length
                break
            self._read_frame(kind, flags, stream_id & 0x7FFFFFFF, buffer[position + 9 : end])
            position = end
        if self._gathered:
            self._deliver_data(is_end=False)
        if position < size and not self.is_over:
            self._parts.append(buffer[position:])
            self._size, self._needed = size - position, needed

    def _read_preface(self, data: bytes) -> bytes:
        part = data[: len(self._preface)]
        if not self._preface.startswith(part):
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "not the client preface")
        self._preface = self._preface[len(part) :]
        return data[len(part) :]

    def _read_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._gathered and kind != DATA:
            self._deliver_data(is_end=False)
        if self._block_stream:
            self._read_continuation(kind, flags, stream_id, payload)
        elif not self._has_settings and (kind != SETTINGS or flags & ACK):
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "the preface is followed by SETTINGS (RFC 9113 §3.4)")
        elif kind == HEADERS:
            self._read_headers(flags, stream_id, payload)
        elif kind == DATA:
            self._read_data(flags, stream_id, payload)
        elif kind == WINDOW_UPDATE:
            self._read_window_update(stream_id, payload)
        else:
            self._read_other(kind, flags, stream_id, payload)

    # Header blocks.

    def _read_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (PADDED | PRIORITY):
            payload = strip(flags, stream_id, payload)
        if flags & END_HEADERS:
            self._end_block(flags, stream_id, payload)
            return
        self._block_stream, self._block_flags = stream_id, flags
        self._block_size = len(payload)
        self._block.append(payload)

    def _read_continuation(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind != CONTINUATION or stream_id != self._block_stream:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "a frame within a header block")
        self._block.append(payload)
        self._block_size += len(payload)
        if len(self._block) > MAX_CONTINUATIONS:
            raise Calm("continuations")
        if flags & END_HEADERS:
            block, self._block_stream = b"".join(self._block), 0
            self._block.clear()
            self._end_block(self._block_flags, stream_id, block)
        elif self._block_size > self._header_bytes:
            raise Calm("header_block")

    def _end_block(self, flags: int, stream_id: int, block: bytes) -> None:
        if len(block) > self._header_bytes:
            raise Calm("header_block")
        # Decoded in any case, because the table belongs to the connection.
        fields = self._fields.decode(block)
        is_end = flags & END_STREAM != 0
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, fields, is_end=is_end)
        elif stream_id <= self.highest_inbound_stream_id:
            if not self._stream_is_closed_by_reset(stream_id):
                raise Fault(ErrorCodes.STREAM_CLOSED, "HEADERS on a stream that has ended")
            self.refuse(stream_id, ErrorCodes.STREAM_CLOSED)
        elif len(self.streams) >= self._max_streams:
            if not stream_id & 1:
                raise Fault(ErrorCodes.PROTOCOL_ERROR, "a stream that a client may not open")
            self.highest_inbound_stream_id = stream_id
            self.refuse(stream_id, ErrorCodes.REFUSED_STREAM)
        else:
            self._open(stream_id, is_end=is_end)
            self._receiver.request(stream_id, fields, is_end=is_end)

    def _open(self, stream_id: int, *, is_end: bool) -> None:
        stream = self._begin_new_stream(stream_id, h2.connection.AllowedStreamIDs.ODD)
        if self.state_machine.state is not ConnectionState.SERVER_OPEN:
            self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        stream.state_machine.process_input(StreamInputs.RECV_HEADERS)
        if is_end:
            stream.state_machine.process_input(StreamInputs.RECV_END_STREAM)
        else:
            stream._inbound_window_manager = Window(STREAM_WINDOW)

    def _trailers(self, stream: H2Stream, fields: Fields, *, is_end: bool) -> None:
        if not takes_more(stream):
            self._fail_stream(stream.stream_id, ErrorCodes.STREAM_CLOSED)
            return
        if is_end:
            stream.state_machine.process_input(StreamInputs.RECV_END_STREAM)
        self._receiver.trailers(stream.stream_id, fields, is_end=is_end)

    # DATA.

    def _read_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "DATA on stream 0")
        size = len(payload)
        self.inbound.window_consumed(size)
        data = strip(flags & PADDED, stream_id, payload) if flags & PADDED else payload
        is_end = flags & END_STREAM != 0
        if not data and not is_end:
            self._pay(Costly.CONTROL, "empty_data")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._late_data(stream_id, size)
        elif not takes_more(stream):
            self.give_back(size)
            self._fail_stream(stream_id, ErrorCodes.STREAM_CLOSED)
        else:
            stream._inbound_window_manager.window_consumed(size)
            if is_end:
                stream.state_machine.process_input(StreamInputs.RECV_END_STREAM)
            self._gather(stream_id, data, size, is_end=is_end)

    def _gather(self, stream_id: int, data: bytes, size: int, *, is_end: bool) -> None:
        """Pass on frames of one stream together if they came together: a byte each would cost a write each."""
        if self._gathered and self._gathered_stream != stream_id:
            self._deliver_data(is_end=False)
        self._gathered.append(data)
        self._gathered_stream = stream_id
        self._gathered_size += size
        if is_end:
            self._deliver_data(is_end=True)

    def _deliver_data(self, *, is_end: bool) -> None:
        pieces, size = self._gathered, self._gathered_size
        self._gathered, self._gathered_size = [], 0
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._receiver.body(self._gathered_stream, data, size, is_end=is_end)

    def _late_data(self, stream_id: int, size: int) -> None:
        """Ignore DATA that was on its way when its stream was reset (RFC 9113 §5.1), at the client's cost."""
        if stream_id > self.highest_inbound_stream_id or not stream_id & 1:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "DATA on an idle stream")
        self.give_back(size)
        if self._stream_is_closed_by_reset(stream_id):
            self._pay(Costly.CONTROL, "late_data")
        else:
            self.refuse(stream_id, ErrorCodes.STREAM_CLOSED)

    def _read_window_update(self, stream_id: int, payload: bytes) -> None:
        self._pay(Costly.WINDOW, "window_updates")
        if len(payload) != 4:
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        increment = int.from_bytes(payload) & 0x7FFFFFFF
        if not stream_id:
            was_open = self.outbound_flow_control_window > 0
            self.outbound_flow_control_window += increment
            if not increment or self.outbound_flow_control_window > MAX_WINDOW:
                raise Fault(ErrorCodes.FLOW_CONTROL_ERROR if increment else ErrorCodes.PROTOCOL_ERROR, "a window")
            if was_open:
                return  # no stream waits for it; to ask a hundred of them each time would cost a thousand times as much
        elif (stream := self.streams.get(stream_id)) is not None:
            stream.outbound_flow_control_window += increment
            if not increment or stream.outbound_flow_control_window > MAX_WINDOW:
                self._fail_stream(stream_id, ErrorCodes.FLOW_CONTROL_ERROR if increment else ErrorCodes.PROTOCOL_ERROR)
                return
        elif stream_id > self.highest_inbound_stream_id or not stream_id & 1:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        self._receiver.window_opened(stream_id)

    # The rest, by h2.

    def _read_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        is_reset = kind == RST_STREAM
        self._pay(Costly.RESET if is_reset else Costly.CONTROL, "rapid_reset" if is_reset else "control_frames")
        if kind in (PUSH_PROMISE, CONTINUATION):
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "a frame that a client may not send here")
        if kind > CONTINUATION:
            return  # RFC 9113 §5.5: unknown frames are ignored
        if kind == SETTINGS and flags & ACK and payload:
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement holds nothing (RFC 9113 §6.5)")
        frame = FRAMES[kind](stream_id)
        frame.parse_flags(flags)
        frame.parse_body(memoryview(payload))
        if kind == GOAWAY:
            self._receiver.client_leaves()
            return
        if isinstance(frame, SettingsFrame):
            self._has_settings = True
            self._filter_settings(frame)
        elif is_reset and (stream_id > self.highest_inbound_stream_id or not stream_id & 1):
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._pass_on(frame)

    def _pass_on(self, frame: Frame) -> None:
        for event in self._receive_frame(frame):
            if isinstance(event, h2.events.StreamReset):
                self._receiver.stream_over(event.stream_id)
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                self._receiver.window_opened(0)  # the initial window may have grown

    def _filter_settings(self, frame: SettingsFrame) -> None:
        """Keep the settings that mean something, without the one that h2's encoder would follow."""
        settings = {code: value for code, value in frame.settings.items() if code in _SETTINGS_IN_USE}
        if settings.pop(h2.settings.SettingCodes.HEADER_TABLE_SIZE, TABLE_SIZE) < TABLE_SIZE:
            # RFC 7541 §4.2: the start of the next block must confirm a limit below the one in force.
            self._announces_table = True
        frame.settings = settings

    def _pay(self, kind: Costly, cause: str) -> None:
        if not self._receiver.affords(kind):
            raise Calm(cause)

    def _fail_stream(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream because of the client's fault: counts as the client's reset (CVE-2025-8671)."""
        self._pay(Costly.RESET, "provoked_resets")
        self.reset(stream_id, code)
        self._receiver.stream_over(stream_id, f"http2_{code.name.lower()}")

    def refuse(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream that was never opened here or is over."""
        self._pay(Costly.RESET, "provoked_resets")
        self._closed_streams[stream_id] = StreamClosedBy.SEND_RST_STREAM
        self._data_to_send += pack_number(RST_STREAM, stream_id, int(code))
        self._receiver.stream_over(stream_id, f"http2_{code.name.lower()}")
