"""The outcome of one request: its counts and times, and its line in the access log."""

from __future__ import annotations

from time import perf_counter  # the loop's own clock counts in milliseconds
from typing import TYPE_CHECKING

from edge_addon.http.framing import RequestHead
from edge_addon.plane.access_log import AccessEntry
from edge_addon.plane.metrics import NO_UPSTREAM
from edge_addon.transport.channel import Channel

if TYPE_CHECKING:
    from edge_addon.plane.data_plane import DataPlane

_PROTOCOLS = ("HTTP/1.0", "HTTP/1.1")


class Report:
    """Reports the requests of one connection in turn; `begin` forgets the one before."""

    __slots__ = ("_channel", "_plane", "bytes_in", "bytes_out", "head", "responded", "started", "status")

    def __init__(self, channel: Channel, plane: DataPlane) -> None:
        self._channel = channel
        self._plane = plane
        self.begin(None)

    def begin(self, head: RequestHead | None) -> None:
        """Start with a request; `head` is None for bytes that never became one."""
        self.head = head
        self.started = perf_counter()
        self.responded = 0.0
        self.status = self.bytes_in = self.bytes_out = 0

    def answered(self, status: int) -> None:
        """Note the head of the final response."""
        self.status = status
        self.responded = perf_counter()

    def write(self, outcome: str | None, upstream: str | None) -> None:
        """Count the request and write its line. `outcome`: why it ended in an unusual way."""
        now = perf_counter()
        head = self.head
        seconds = NO_UPSTREAM if upstream is None else (self.responded or now) - self.started
        self._plane.metrics.request(
            "" if head is None else head.site, self.status, seconds, self.bytes_in, self.bytes_out
        )
        if not self._plane.access_log.is_enabled:
            return
        entry = build_entry(self._channel, head, self.status, outcome)
        entry.bytes_in, entry.bytes_out = self.bytes_in, self.bytes_out
        entry.duration = now - self.started
        if upstream is not None:
            entry.upstream = upstream
            entry.upstream_duration = seconds
        self._plane.access_log.write(entry)


def build_entry(channel: Channel, head: RequestHead | None, status: int, outcome: str | None) -> AccessEntry:
    """Build an entry from the connection and the request; the caller adds counts and times."""
    entry = AccessEntry.of(channel)
    entry.status = status or None
    entry.outcome = outcome
    if head is not None:
        entry.host = None if head.host is None else head.host.decode("latin-1")
        entry.method = head.method.decode("latin-1")
        entry.target = head.target.decode("latin-1")
        entry.protocol = "HTTP/2.0" if channel.alpn == "h2" else _PROTOCOLS[head.minor]
        entry.user_agent = _field(head, b"user-agent")
        entry.referer = _field(head, b"referer")
    return entry


def _field(head: RequestHead, name: bytes) -> str | None:
    """Return the first value of a field that is passed on."""
    for line in head.lines:
        if line[: len(name)].lower() == name and line[len(name) : len(name) + 1] == b":":
            return _text(line[len(name) + 1 :].strip(b" \t"))
    return None


def _text(value: bytes) -> str:
    """Decode a value as UTF-8, as nearly all senders mean it, otherwise byte by byte."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
