"""Takes the heads of requests out of a client's bytes, whatever pieces they come in. Pure."""

from __future__ import annotations

from edge_addon.http.framing import RequestHead, parse_request
from edge_addon.http.partial_head import PartialHead, skip_empty_lines


class HeadReader:
    """The heads of one connection, one after the other."""

    __slots__ = ("_empty_lines", "_max_bytes", "_partial")

    def __init__(self, max_bytes: int) -> None:
        self._empty_lines = 0
        self._max_bytes = max_bytes
        self._partial: PartialHead | None = None

    @property
    def is_partial(self) -> bool:
        """Whether a head has come in part: `read` wants what follows it."""
        return self._partial is not None

    def read(self, data: bytes) -> tuple[RequestHead | None, bytes]:
        """Return the next head and what follows it. Without a head, the rest is what to pass again with more behind it.

        Raises BadMessage.
        """
        if self._partial is not None:
            whole = self._partial.feed(data)
            if whole is None:
                return None, b""
            self._partial, data = None, whole
        while data:
            end = data.find(b"\r\n\r\n")
            if 0 < end <= self._max_bytes and data[0] != 0x0D:
                head = parse_request(data[:end])
                self._empty_lines = 0
                return head, data[end + 4 :]
            rest, self._empty_lines = skip_empty_lines(data, self._empty_lines)
            if len(rest) == len(data):
                return None, self._begin(data)
            data = rest
        return None, data

    def _begin(self, data: bytes) -> bytes:
        if data == b"\r":  # that may become an empty line
            return data
        partial = PartialHead(self._max_bytes)
        partial.feed(data)
        self._partial = partial
        return b""

    def drop(self) -> None:
        """Forget a head that has come in part: nothing more is read."""
        self._partial = None
