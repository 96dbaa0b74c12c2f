"""The sending side of one HTTP/2 connection: header blocks, DATA under the client's windows, resets, GOAWAY.

Built on the h2 library, which keeps settings, windows and the states of the streams. Frequent frames are written here
directly, because h2 creates an object for each frame and an event for each step. Calls for a stream that is over do not
fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import h2.config
import h2.connection
import h2.settings
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.stream import H2Stream, StreamClosedBy, StreamInputs, StreamState
from hyperframe.frame import GoAwayFrame

from edge_addon.relay.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    HEADER,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    pack,
    pack_number,
)
from edge_addon.relay.http2.hpack import SHRINK_TABLE, TABLE_SIZE
from edge_addon.relay.http2.windows import CONNECTION_WINDOW, STREAM_WINDOW, ConnectionWindow, Window
from edge_addon.upstream.bounds import Share

CLOSED_STREAMS: Final = 128
"""How many reset streams are remembered, to tell a frame that was on its way from a wrong one."""
MAX_UNSENT: Final = 128 * 1024
"""Bytes to gather within one turn of the loop. More would leave the processor's cache before encryption."""
_RESETS = (StreamClosedBy.SEND_RST_STREAM, StreamClosedBy.RECV_RST_STREAM)
_WRITABLE = frozenset((StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE))


class _Values(list[int]):
    """h2's values of one setting: the one in force and those to come. Its deques take 600 bytes each."""

    __slots__ = ()

    def popleft(self) -> int:
        return self.pop(0)


def _slim(settings: h2.settings.Settings) -> None:
    values: dict[Any, Any] = settings._settings
    for code, waiting in values.items():
        values[code] = _Values(waiting)


def takes_more(stream: H2Stream) -> bool:
    """Whether the client has not ended the stream."""
    return stream.state_machine.state in (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL)


class FrameWriter(h2.connection.H2Connection):
    """Gathers the bytes to write until `data_to_send` takes them."""

    MAX_CLOSED_STREAMS = CLOSED_STREAMS

    def __init__(self, header_bytes: int, max_streams: int, shares: Sequence[Share] = ()) -> None:
        """`shares`: what bounds the windows beyond the one that every connection has."""
        super().__init__(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        del self.encoder, self.decoder  # unused, and an idle connection should take little memory
        self._announces_table = False
        codes = h2.settings.SettingCodes
        self.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.HEADER_TABLE_SIZE: TABLE_SIZE,
                codes.ENABLE_PUSH: 0,
                codes.MAX_CONCURRENT_STREAMS: max_streams,
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                codes.MAX_FRAME_SIZE: FRAME_SIZE,
                codes.MAX_HEADER_LIST_SIZE: header_bytes,
                codes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        _slim(self.local_settings)
        _slim(self.remote_settings)
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - self.inbound_flow_control_window)
        self.inbound = self._inbound_flow_control_window_manager = ConnectionWindow(shares)

    @property
    def unsent(self) -> int:
        """The number of bytes that `data_to_send` would return."""
        return len(self._data_to_send)

    def send_head(self, stream_id: int, block: bytes, *, is_end: bool, is_informational: bool = False) -> bool:
        """Send an encoded header block: a 1xx or final head, or trailers. False: the stream is over."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return False
        if self._announces_table:
            self._announces_table = False
            block = SHRINK_TABLE + block
        machine = stream.state_machine
        try:
            machine.process_input(
                StreamInputs.SEND_INFORMATIONAL_HEADERS if is_informational else StreamInputs.SEND_HEADERS
            )
            if is_end:
                machine.process_input(StreamInputs.SEND_END_STREAM)
        except ProtocolError:
            return False
        flags = END_STREAM if is_end else 0
        kind = HEADERS
        while len(block) > FRAME_SIZE:
            self._data_to_send += pack(kind, flags, stream_id, block[:FRAME_SIZE])
            block, kind, flags = block[FRAME_SIZE:], CONTINUATION, 0
        self._data_to_send += pack(kind, flags | END_HEADERS, stream_id, block)
        return True

    def send_body(self, stream_id: int, data: bytes | memoryview, *, is_end: bool) -> int | None:
        """Send what the windows take, and return how much; None: the stream is over.

        With `is_end` the stream ends once all has gone.
        """
        stream = self.streams.get(stream_id)
        if stream is None or stream.state_machine.state not in _WRITABLE:
            return None
        size = max(min(len(data), self.outbound_flow_control_window, stream.outbound_flow_control_window), 0)
        ends = is_end and size == len(data)
        if size <= FRAME_SIZE:
            if size or ends:
                self._data_to_send += pack(
                    DATA, END_STREAM if ends else 0, stream_id, data if size == len(data) else data[:size]
                )
        else:
            self._put_large(stream_id, memoryview(data)[:size], END_STREAM if ends else 0)
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        if ends:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        return size

    def _put_large(self, stream_id: int, data: memoryview, last_flags: int) -> None:
        """Write frames of the usual size; each byte is copied once."""
        size = len(data)
        for start in range(0, size, FRAME_SIZE):
            stop = min(start + FRAME_SIZE, size)
            length = stop - start
            flags = last_flags if stop == size else 0
            self._data_to_send += HEADER.pack(length >> 8, length & 0xFF, DATA, flags, stream_id)
            self._data_to_send += data[start:stop]

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream that is not over."""
        stream = self.streams.get(stream_id)
        if stream is not None and not stream.closed:
            self.reset_stream(stream_id, code)

    # The windows of requests' bodies.

    def window(self, stream_id: int) -> Window:
        """The window of a stream that the client has not ended."""
        window = self.streams[stream_id]._inbound_window_manager
        assert isinstance(window, Window)  # noqa: S101  since the stream was opened
        return window

    def acknowledge(self, stream_id: int, size: int, borrowed: int = 0) -> None:
        """Let the client send so many bytes more on the stream while it is open, and on the connection.

        `borrowed`: how many of them the connection's window has already got.
        """
        stream = self.streams.get(stream_id)
        if stream is not None and takes_more(stream):
            increment = stream._inbound_window_manager.process_bytes(size)
            if increment:
                self._data_to_send += pack_number(WINDOW_UPDATE, stream_id, increment)
        if borrowed:
            self.inbound.shrink(borrowed)
        self.give_back(size)

    def forget(self, stream_id: int, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Drop a stream; one that is not over is reset with this code."""
        stream = self.streams.pop(stream_id, None)
        if stream is None:
            return
        if not stream.closed:
            self._data_to_send += pack_number(RST_STREAM, stream_id, int(code))
            self._closed_streams[stream_id] = StreamClosedBy.SEND_RST_STREAM
        elif stream.closed_by in _RESETS:
            self._closed_streams[stream_id] = stream.closed_by

    def give_back(self, size: int) -> None:
        """Open the connection's window again for bytes that have been taken."""
        increment = self.inbound.process_bytes(size)
        if increment:
            self._data_to_send += pack_number(WINDOW_UPDATE, 0, increment)

    def queue_goaway(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Queue a GOAWAY: later streams than those so far are not processed."""
        frame = GoAwayFrame(0, last_stream_id=self.highest_inbound_stream_id, error_code=int(code))
        self._data_to_send += frame.serialize()
