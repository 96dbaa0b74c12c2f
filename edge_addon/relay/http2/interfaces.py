"""What a stream asks of the connection that it belongs to; the session provides it."""

from __future__ import annotations

from typing import Protocol

from edge_addon.http.fields import Field, FieldTable
from edge_addon.relay.http2.upload import Credit
from edge_addon.transport.timers import Timer
from edge_addon.upstream.bounds import AddressUsage
from edge_addon.upstream.login import ClientLogins


class Frames(Credit, Protocol):
    """What a stream asks of its connection. Sizes in bytes. A call for a stream that is over has no effect."""

    logins: ClientLogins
    usage: AddressUsage
    own_fields: tuple[Field, ...]
    response_fields: FieldTable

    def send_head(self, stream_id: int, block: bytes, *, is_end: bool, is_informational: bool = False) -> None: ...

    def send_body(self, stream_id: int, data: bytes | memoryview, *, is_end: bool) -> int:
        """Send what the windows take, and return how much. With `is_end` the stream ends once all has gone."""

    def reset(self, stream_id: int, code: int) -> None: ...

    def queue_changed(self, difference: int) -> None:
        """Note that so many bytes more, or fewer, wait for the client's windows."""

    def hold_early(self, difference: int) -> bool:
        """Count bytes that wait for an upstream's consent; False, and not counted, if they are too many."""

    def stream_ended(self, stream_id: int, timer: Timer, *, is_whole: bool) -> None:
        """Take back the timer of a stream that is over. `is_whole`: its response was sent whole."""

    @property
    def is_write_paused(self) -> bool: ...

    @property
    def is_full(self) -> bool:
        """Too much waits for this client: no stream reads from its upstream."""
