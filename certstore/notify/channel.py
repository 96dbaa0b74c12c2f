"""A way to send warnings: what the notifier asks of one, and how one fails.

A notice is planned without knowing how it travels. Each channel sends the same notices in its own form, and a channel
that fails holds no other back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from certstore.model.notify.due_notices import Notice


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side refused this recipient's notice; others may have been delivered."""

    recipient: str
    reason: str


class ChannelFailed(Exception):
    """Not every notice could be offered; the message says what was attempted and what came back.

    `lost` are the recipients whose notices cost the connection, `refused` those whose notices were refused.
    """

    lost: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()


class Channel(Protocol):
    """Made from the settings by `channels.open_channels`; used by the notifier's thread alone, but for `test`."""

    name: str
    """Unique; stands in log lines and problems."""

    def recipients(self, contacts: Collection[str]) -> Collection[str]:
        """Who gets a notice about a site with these contacts, in a stable order and none twice."""

    def serves(self, recipient: str) -> bool:
        """Whether a recipient whose state was kept belongs to this channel."""

    def deliver(
        self, notices: Sequence[Notice], now: datetime, delivered: Callable[[Notice], None]
    ) -> Sequence[Refused]:
        """Send each notice; call `delivered` the moment the other side has accepted one, before anything else.

        Raises ChannelFailed when a notice could not be offered: it is tried again later.
        """

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        """Send a test to each of these recipients. Raises ChannelFailed."""
