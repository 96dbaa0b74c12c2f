"""How fast a request's body must come: a byte now and then would hold a connection for ever. Pure.

Asked only while nobody but the client is waited for: what an upstream does not take, or has begun to answer, is no
fault of the client.
"""

from __future__ import annotations

from edge_addon.http.limits import BODY_STEP

CHANNELS = frozenset((b"RPC_IN_DATA",))
"""Requests whose body is a channel of its own, silent for minutes at a time (MS-RPCH §2.1.2: Outlook Anywhere)."""


class BodyRate:
    """Of one body: its deadline moves with every step of BODY_STEP bytes, not with every byte.

    `is_channel`: it does with every byte, and nothing but silence for the idle limit's time ends it.
    """

    __slots__ = ("_mark", "is_channel")

    def __init__(self, method: bytes = b"") -> None:
        self._mark = 0
        self.is_channel = method in CHANNELS

    def has_stepped(self, size: int) -> bool:
        """Whether the body, of `size` bytes by now, has come on far enough since this was last so."""
        if size - self._mark < BODY_STEP and not self.is_channel:
            return False
        self._mark = size
        return True
