"""How fast a request's body must come: a byte now and then would hold a connection open without end. Pure.

Checked only while the edge waits for the client alone: a body that the upstream does not take, or has begun to answer,
is not the client's fault.
"""

from __future__ import annotations

from edge_addon.http.limits import BODY_STEP

CHANNELS = frozenset((b"RPC_IN_DATA",))
"""Requests whose body is a channel, silent for minutes at a time (MS-RPCH §2.1.2: Outlook Anywhere)."""


class BodyRate:
    """The pace of one body: its deadline moves with every BODY_STEP bytes, not with every byte.

    With `is_channel` it moves with every byte, and only silence for as long as the idle limit ends the body.
    """

    __slots__ = ("_mark", "is_channel")

    def __init__(self, method: bytes = b"") -> None:
        self._mark = 0
        self.is_channel = method in CHANNELS

    def has_stepped(self, size: int) -> bool:
        """Whether the body, now `size` bytes long, has grown by a step since this was last true."""
        if size - self._mark < BODY_STEP and not self.is_channel:
            return False
        self._mark = size
        return True
