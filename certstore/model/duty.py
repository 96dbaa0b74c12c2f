"""Whose turn it is: of several nodes that share a store's sites, only one may order, renew and send warnings.

A node by itself always may (`Alone`). Where there is a cluster, the holder of a lease may (`certstore.cluster.duty`),
and what asks here does not know which of the two it is.
"""

from __future__ import annotations

from typing import Protocol


class Duty(Protocol):
    """Thread-safe, and asked every second: answers at once, from what is known."""

    def is_mine(self) -> bool:
        """Whether this node may order and renew certificates, and change accounts, without a person who asks."""
        ...

    def is_mine_to_warn(self) -> bool:
        """Whether this node sends the warnings about certificates."""
        ...


class Alone:
    """A node without a cluster."""

    def is_mine(self) -> bool:
        return True

    def is_mine_to_warn(self) -> bool:
        return True


class Nobody:
    """A node that should be in a cluster and can't: another one may be at it, so this one only warns."""

    def is_mine(self) -> bool:
        return False

    def is_mine_to_warn(self) -> bool:
        return True
