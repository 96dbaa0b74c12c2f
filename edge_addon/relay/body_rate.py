"""How fast a request's body must come: a byte now and then would hold a connection for ever. Pure.

Asked only while nobody but the client is waited for: what an upstream does not take, or has begun to answer, is no
fault of the client.
"""

from __future__ import annotations

from edge_addon.relay.limits import BODY_STEP


class BodyRate:
    """Of one body: its deadline moves with every step of BODY_STEP bytes, not with every byte."""

    __slots__ = ("_mark",)

    def __init__(self) -> None:
        self._mark = 0

    def has_stepped(self, size: int) -> bool:
        """Whether the body, of `size` bytes by now, has come on far enough since this was last so."""
        if size - self._mark < BODY_STEP:
            return False
        self._mark = size
        return True
