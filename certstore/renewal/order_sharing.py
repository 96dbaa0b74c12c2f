"""Which node orders for a site: of several that share their sites, one at a time, and only what it made while it was
the one may go live.

A node by itself always is (`OneNode`). In a cluster a lock in the engine says so (`certstore.cluster.orders`), and what
asks here does not know which of the two it is.
"""

from __future__ import annotations

from typing import Protocol

from certstore.acme.account import Accounts
from certstore.acme.order_journal import OrderJournal
from certstore.model.layout import Layout
from certstore.model.version import Version
from certstore.renewal.memory import RenewalMemory


class OrderNotAllowed(Exception):
    """This node may not order for the site now. The message says why, `remedy` what to do; nothing has failed."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class OrderHold(Protocol):
    """The right to order for one site."""

    def consent(self, version: Version) -> str | None:
        """Give an ordered version to the other nodes, before it goes live here: why it must not, None where it may.

        Raises OrderFailed where that could not be found out.
        """
        ...

    def release(self) -> None:
        """Others may order again. Never raises."""
        ...


class OrderSharing(Protocol):
    """Thread-safe."""

    def take(self, site: str) -> OrderHold:
        """Raises OrderNotAllowed."""
        ...

    def take_detached(self, site: str) -> OrderHold:
        """For a person who knows that no other node orders. Raises OrderNotAllowed where the others can be asked."""
        ...

    def node_at(self, address: str) -> str:
        """The other node that clients reach there, empty where there is none."""
        ...

    def bind(self, memory: RenewalMemory | None) -> None:
        """The memory has what the other nodes remember from now on; None: it is about to be closed."""
        ...

    def journal(self, layout: Layout) -> OrderJournal:
        """Where orders under way are kept."""
        ...

    def accounts(self, layout: Layout) -> Accounts:
        """The accounts at the CAs."""
        ...


class OneNode:
    """There is no other: as an `OrderSharing`, and as its holds."""

    def take(self, site: str) -> OrderHold:
        return self

    def take_detached(self, site: str) -> OrderHold:
        return self

    def consent(self, version: Version) -> str | None:
        return None

    def release(self) -> None:
        """Nobody waits."""

    def node_at(self, address: str) -> str:
        return ""

    def bind(self, memory: RenewalMemory | None) -> None:
        """It remembers by itself."""

    def journal(self, layout: Layout) -> OrderJournal:
        return OrderJournal(layout)

    def accounts(self, layout: Layout) -> Accounts:
        return Accounts(layout)


class AskingNobody(OneNode):
    """A node of a cluster that can't ask the others, `because` of something: it orders only for who insists."""

    def __init__(self, because: str) -> None:
        self._because = because

    def take(self, site: str) -> OrderHold:
        raise may_be_ordered_elsewhere(site, self._because)


def may_be_ordered_elsewhere(site: str, because: str) -> OrderNotAllowed:
    return OrderNotAllowed(
        f"{because}, and another node may be ordering",
        f"where it can't be waited for, on one node: certedge cert request {site} --detached",
    )
