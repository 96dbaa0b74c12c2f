"""How much one client connection may hold in bodies and WebSocket messages that addons get as a whole. Pure.

An HTTP/2 connection has many streams, and each could hold a body of the largest size. A body that does not fit fails at
once: if it waited, two that are half read could wait for each other.
"""

from __future__ import annotations

MOST_BODIES = 2
"""So many bodies of the largest size fit."""


class BodyBudget:
    """The bytes of whole bodies that a connection holds now, requests and responses together."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0

    def take(self, size: int, largest: int) -> bool:
        """Hold so many bytes more; False if they do not fit. `largest`: the limit of one body."""
        if self.held + size > MOST_BODIES * largest:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Hold so many bytes less."""
        self.held -= size
