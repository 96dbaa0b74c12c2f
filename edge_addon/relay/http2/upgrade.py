"""A WebSocket over HTTP/2 (RFC 8441) that its upstream has not agreed to yet: its key, and what came too early."""

from __future__ import annotations

from edge_addon.http.framing import ResponseHead
from edge_addon.http.websocket_key import is_accepted
from edge_addon.relay.http2.interfaces import Frames


class PendingUpgrade:
    """From the request until the upstream agrees or refuses. Early bytes count against the connection's bound."""

    __slots__ = ("_early", "_frames", "_key")

    def __init__(self, key: bytes, frames: Frames) -> None:
        self._key = key
        self._frames = frames
        self._early = bytearray()

    def hold(self, data: bytes) -> bool:
        """Keep bytes that came before the consent; False if they are too many."""
        if not self._frames.hold_early(len(data)):
            return False
        self._early += data
        return True

    def take_early(self) -> bytes:
        """What came too early, which is no longer held."""
        early, self._early = bytes(self._early), bytearray()
        if early:
            self._frames.hold_early(-len(early))
        return early

    def is_accepted(self, head: ResponseHead) -> bool:
        """Whether the upstream knows what it agrees to."""
        return is_accepted(self._key, head)
