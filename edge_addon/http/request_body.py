"""The body of one HTTP/1 request, from the client's framing to ours. Pure."""

from __future__ import annotations

from edge_addon.http.chunks import ChunkDecoder, encode_chunk, encode_last_chunk
from edge_addon.http.framing import CHUNKED


class RequestBody:
    """Reads a body of `length` bytes, or CHUNKED, in pieces of any size."""

    __slots__ = ("_decoder", "_left", "size")

    def __init__(self, length: int) -> None:
        self._decoder = ChunkDecoder() if length == CHUNKED else None
        self._left = length
        self.size = 0
        """Bytes of content so far."""

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the bytes to pass on and what follows the body, None before its end; raises BadMessage."""
        if self._decoder is None:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                self.size += len(data)
                return data, None
            self.size += left
            return data[:left], data[left:]
        body, rest = self._decoder.feed(data)
        self.size += len(body)
        if rest is None:
            return encode_chunk(body), None
        return encode_chunk(body) + encode_last_chunk(self._decoder.trailers), rest
