"""HTTP/2 frames: types, flags, our limits, faults, padding (RFC 9113 §4, §6). Pure."""

from __future__ import annotations

import struct
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_SIZE: Final = 16384
MAX_WINDOW: Final = 2**31 - 1
MAX_CONTINUATIONS: Final = 32
"""Frames of one header block. Its bytes are bounded too, but empty frames do not count there."""

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE = 0x0, 0x1, 0x3, 0x4, 0x5
GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x7, 0x8, 0x9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 0x0, 0x1, 0x2, 0x8, 0xB, 0xD
"""RFC 9113 §7."""
HEADER: Final = struct.Struct(">HBBBL")
"""Length in three bytes, type, flags, stream."""


class Fault(ProtocolError):
    """The client broke a rule in a way that ends the connection."""

    def __init__(self, code: ErrorCodes, text: str) -> None:
        super().__init__(text)
        self.error_code = code


class Calm(ProtocolError):
    """The client exceeds its budget: ENHANCE_YOUR_CALM (RFC 9113 §10.5). The text is a counter's name."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


def pack(kind: int, flags: int, stream_id: int, payload: bytes | memoryview) -> bytes:
    """Build a whole frame."""
    return HEADER.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream_id) + payload


def pack_number(kind: int, stream_id: int, number: int) -> bytes:
    """Build a frame with one number: WINDOW_UPDATE, RST_STREAM."""
    return pack(kind, 0, stream_id, number.to_bytes(4))


def strip(flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return a payload without padding and priority (RFC 9113 §6.1, §6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, "no padding length")
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        if len(payload) < start + 5:
            raise Fault(ErrorCodes.FRAME_SIZE_ERROR, "a priority cut short")
        if int.from_bytes(payload[start : start + 4]) & 0x7FFFFFFF == stream_id:
            raise Fault(ErrorCodes.PROTOCOL_ERROR, "a stream that depends on itself")
        start += 5
    if end < start:
        raise Fault(ErrorCodes.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[start:end]
