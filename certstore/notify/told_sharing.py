"""What recipients have been told, by whichever of several nodes: so that nobody hears the same from two of them.

A node by itself remembers what it told (`OneTeller`). In a cluster the node that warns tells the others
(`certstore.cluster.shared_told`), and the notifier does not know which of the two it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from certstore.model.notify.due_notices import Told


class ToldSharing(Protocol):
    """Thread-safe. Methods never raise, and wait for the engine no longer than one request takes."""

    def offer(self, told: Mapping[str, Told]) -> None:
        """What this node knew when it started, by recipient: it counts where the others know nothing."""
        ...

    def news(self) -> Mapping[str, Told]:
        """What other nodes have told since the last call, by recipient."""
        ...

    def tell(self, recipient: str, told: Told) -> None:
        """A recipient has accepted a notice of this node."""
        ...


class OneTeller:
    """There is no other."""

    def offer(self, told: Mapping[str, Told]) -> None:
        """Nobody asks."""

    def news(self) -> Mapping[str, Told]:
        return {}

    def tell(self, recipient: str, told: Told) -> None:
        """It is on disk already."""
