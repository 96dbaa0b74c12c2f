"""The health listener: tells a load balancer whether it may send clients here.

Workers answer it themselves, so the answer is about the processes that serve: 200 while they serve, 503 while the
service drains, while the node lacks sites of the cluster that it joined, or where no main certificate can be loaded.
Live certificates that can't be loaded are named, and don't stop a worker that serves other versions in their place. Any
method and path will do, because balancers differ in what they send.
"""

from __future__ import annotations

from certstore.model.snapshot import MAIN
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.channel import Channel

REQUEST_LIMIT = 8192
LISTED = 10
"""Lines about certificates that can't be loaded."""


class HealthSession:
    """One request and one answer, then the connection closes."""

    def __init__(self, channel: Channel, plane: DataPlane) -> None:
        self._channel = channel
        self._plane = plane
        self._received = bytearray()
        self._timer = plane.timers.timer()
        self._timer.set(plane.settings.limits.head_seconds, channel.abort)

    @property
    def is_idle(self) -> bool:
        return True

    idle_since = None
    """Never gives way: a balancer would think that nobody serves."""

    def data_received(self, data: bytes) -> None:
        start = max(len(self._received) - 3, 0)
        self._received += data
        if self._received.find(b"\r\n\r\n", start) >= 0 or self._received.find(b"\n\n", start) >= 0:
            self._answer(is_head=self._received.startswith(b"HEAD "))
        elif len(self._received) > REQUEST_LIMIT:
            self._plane.count("health_request_too_long")
            self._channel.close()

    def eof_received(self) -> None:
        """A balancer that only checks whether the port is open."""
        self._channel.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()

    def _ignore(self) -> None:
        """Nothing to pause: the only answer is small. Nothing to do in a drain: the answer itself reports it."""

    pause_writing = resume_writing = tls_established = drain = _ignore

    def _state(self) -> tuple[bool, bytes]:
        """Whether clients may come, and a line of text; further lines name what is not served as it should be."""
        if self._plane.is_service_ending:
            return False, b"draining\n"
        if self._plane.settings.cluster is not None and self._plane.layout.joining.exists():
            return False, b"joining the cluster\n"
        unloadable = self._plane.unloadable()
        is_lost = any(each.site == MAIN and each.served is None for each in unloadable)
        lines = ["no main certificate" if is_lost else "serving"]
        lines += [each.message for each in unloadable[:LISTED]]
        return not is_lost, "".join(f"{line}\n" for line in lines).encode("ascii", "replace")

    def _answer(self, *, is_head: bool) -> None:
        is_serving, text = self._state()
        lines = (
            b"HTTP/1.1 200 OK" if is_serving else b"HTTP/1.1 503 Service Unavailable",
            b"Content-Type: text/plain",
            b"Content-Length: %d" % len(text),
            b"Cache-Control: no-store",
            b"Connection: close",
            b"",
            b"" if is_head else text,
        )
        self._timer.cancel()
        self._channel.write(b"\r\n".join(lines))
        self._channel.close()
