"""A download by an HTTP/2 client that acknowledges every DATA frame at once, on its stream and on the connection.

Go's net/http is such a client, hence Caddy, Traefik, rclone and restic are: each frame that the server sends makes them
send two. A server that counts these as a flood ends the connection in the middle of the file.
"""

from __future__ import annotations

import ssl
import time

from hpack import Encoder

from tests.bench.clients import TIMEOUT_SECONDS, Load, LoadFailed, connect
from tests.bench.material import MAIN_HOST

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x7, 0x8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_WINDOW = 4 * 1024 * 1024
"""Go's window of a stream."""


def download(port: int, path: str, size: int) -> Load:
    """Fetch `path`, which has `size` bytes, once. Raises LoadFailed if the server ends the connection before."""
    began = time.monotonic()
    with connect(port, MAIN_HOST, protocols=("h2",)) as secure:
        secure.settimeout(TIMEOUT_SECONDS)
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", MAIN_HOST), (":path", path)]
        settings = b"\0\x04" + _WINDOW.to_bytes(4)  # INITIAL_WINDOW_SIZE
        secure.sendall(
            _PREFACE
            + _frame(_SETTINGS, settings)
            + _frame(_WINDOW_UPDATE, _WINDOW.to_bytes(4))
            + _frame(_HEADERS, Encoder().encode(fields), stream=1, flags=_END_STREAM | _END_HEADERS)
        )
        received = _receive(secure, size)
    if received != size:
        raise LoadFailed(f"{received:,} bytes instead of {size:,}")
    return Load(1, time.monotonic() - began)


def _receive(secure: ssl.SSLSocket, size: int) -> int:
    """The bytes of the body that come until the stream ends. Raises LoadFailed if the server gives up."""
    waiting, received = bytearray(), 0
    while data := secure.recv(1 << 18):
        waiting += data
        position, answer = 0, []
        while len(waiting) - position >= 9:
            length = int.from_bytes(waiting[position : position + 3])
            kind, flags = waiting[position + 3], waiting[position + 4]
            if len(waiting) - position < 9 + length:
                break
            position += 9 + length
            if kind in (_GOAWAY, _RST_STREAM):
                raise LoadFailed(f"the server ended it after {received:,} of {size:,} bytes")
            if kind == _SETTINGS and not flags & _ACK:
                answer.append(_frame(_SETTINGS, flags=_ACK))
            if kind == _DATA:
                received += length
                if flags & _END_STREAM:
                    return received
                if length:
                    answer += [_frame(_WINDOW_UPDATE, length.to_bytes(4), stream=number) for number in (0, 1)]
        del waiting[:position]
        if answer:
            secure.sendall(b"".join(answer))
    return received


def _frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
