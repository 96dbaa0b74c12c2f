"""The chunked coding (RFC 9112 §7.1), read strictly and written plainly.

Pure. Nothing is passed on as it came: data is framed anew, extensions are dropped, trailers are checked. So it does not
matter if two servers read chunks differently.
"""

from __future__ import annotations

import re
from enum import Enum

from edge_addon.http.fields import trailer_fields
from edge_addon.http.framing import split_lines
from edge_addon.http.limits import MAX_CHUNK_EXTENSIONS, MAX_CHUNK_LINE, MAX_TRAILER
from edge_addon.http.refusal import BadMessage, Cause

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;[\t\x20-\x7e\x80-\xff]*)?)")
"""With 15 digits a chunk is below 2**60 bytes, so no parser's integer overflows. No space before the extensions."""

LAST_CHUNK = b"0\r\n\r\n"


class _Stage(Enum):
    SIZE = 1
    DATA = 2
    DATA_END = 3
    TRAILER = 4
    DONE = 5


class ChunkDecoder:
    """Reads one chunked body, in pieces of any size."""

    __slots__ = ("_buffer", "_extensions", "_left", "_stage", "trailers")

    def __init__(self) -> None:
        self._stage = _Stage.SIZE
        self._buffer = b""
        self._left = 0
        self._extensions = 0
        self.trailers: list[bytes] = []
        """Trailer lines that may be passed on, once the body is complete."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the body's bytes in `data` and what follows the body, None before its end; raises BadMessage."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        position: int | None = 0
        end = 0
        while position is not None:
            end = position
            position = self._step(data, position, pieces)
            if self._stage is _Stage.DONE:
                assert position is not None  # noqa: S101  only an incomplete step gives None
                return b"".join(pieces), data[position:]
        self._buffer = data[end:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), None

    def _step(self, data: bytes, position: int, pieces: list[bytes]) -> int | None:
        """Read one element at `position`; return where the next one starts, None when this one is not complete."""
        if self._stage is _Stage.DATA:
            piece = data[position : position + self._left]
            if not piece:
                return None
            pieces.append(piece)
            self._left -= len(piece)
            if not self._left:
                self._stage = _Stage.DATA_END
            return position + len(piece)
        if self._stage is _Stage.DATA_END:
            return self._read_data_end(data, position)
        if self._stage is _Stage.SIZE:
            return self._read_size(data, position)
        return self._read_trailer(data, position)

    def _read_data_end(self, data: bytes, position: int) -> int | None:
        found = data[position : position + 2]
        if found == b"\r\n":
            self._stage = _Stage.SIZE
            return position + 2
        if found not in (b"", b"\r"):
            raise BadMessage(Cause.BAD_CHUNK_END)
        return None

    def _read_size(self, data: bytes, position: int) -> int | None:
        end = data.find(b"\r\n", position, position + MAX_CHUNK_LINE)
        if end < 0:
            line = data[position : position + MAX_CHUNK_LINE]
            if len(line) == MAX_CHUNK_LINE:
                raise BadMessage(Cause.CHUNK_LINE_TOO_LONG)
            if b"\n" in line or not _may_become_size(line):
                raise BadMessage(Cause.BAD_CHUNK_SIZE)
            return None
        match = _SIZE.fullmatch(data, position, end)
        if match is None:
            raise BadMessage(Cause.BAD_CHUNK_SIZE)
        self._extensions += len(match[2])
        if self._extensions > MAX_CHUNK_EXTENSIONS:
            raise BadMessage(Cause.CHUNK_EXTENSIONS)
        self._left = int(match[1], 16)
        self._stage = _Stage.DATA if self._left else _Stage.TRAILER
        return end + 2

    def _read_trailer(self, data: bytes, position: int) -> int | None:
        if data.startswith(b"\r\n", position):
            self._stage = _Stage.DONE
            return position + 2
        end = data.find(b"\r\n\r\n", position, position + MAX_TRAILER)
        if end < 0:
            rest = data[position:]
            if len(rest) >= MAX_TRAILER:
                raise BadMessage(Cause.BAD_TRAILER, 431)
            if rest.count(b"\n") != rest.count(b"\r\n"):
                raise BadMessage(Cause.BARE_LF)
            return None
        self.trailers = read_trailers(data[position:end])
        self._stage = _Stage.DONE
        return end + 4


def _may_become_size(line: bytes) -> bool:
    """Whether this can be the beginning of a size line: junk is refused at once, not when its line ends."""
    return not line or _SIZE.fullmatch(line.removesuffix(b"\r")) is not None


def read_trailers(section: bytes) -> list[bytes]:
    """Return the trailer lines that may be passed on, without those that frame, route or authenticate."""
    kept = []
    for line in split_lines(section):
        name, colon, _ = line.partition(b":")
        treatment = trailer_fields[name]
        if not colon:
            raise BadMessage(Cause.BAD_TRAILER)
        if not treatment:
            kept.append(line)
    return kept


def encode_chunk(data: bytes) -> bytes:
    """Encode one chunk. No data gives no bytes, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: list[bytes]) -> bytes:
    """Encode the end of a chunked body."""
    return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n" if trailers else LAST_CHUNK
