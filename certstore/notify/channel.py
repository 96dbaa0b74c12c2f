"""A way to send warnings: what the notifier requires of a channel, and how a channel fails.

Notices are planned without regard to how they are sent. Each channel sends the same notices in its own form, and a
channel that fails delays no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from certstore.model.notify.due_notices import Notice


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side refused this recipient's notice; others may have been delivered."""

    recipient: str
    reason: str


class ChannelFailed(Exception):
    """Not every notice could be offered. The message names what was attempted and the answer or error.

    `lost` are the recipients whose notices broke the connection, `refused` those whose notices were refused.
    """

    lost: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()


class Channel(Protocol):
    """Created by the notifier; used only by its thread, except for `test`."""

    name: str
    """Unique; appears in log lines."""

    def recipients(self, contacts: Collection[str]) -> Collection[str]:
        """Who gets a notice about a site with these contacts, in a stable order and without duplicates."""

    def serves(self, recipient: str) -> bool:
        """Whether this recipient belongs to this channel."""

    def deliver(
        self, notices: Sequence[Notice], now: datetime, delivered: Callable[[Notice], None]
    ) -> Sequence[Refused]:
        """Send each notice. Call `delivered` as soon as the other side has accepted one, before anything else.

        Raises ChannelFailed if a notice could not be offered: the outbox tries again later.
        """

    def test(self, recipients: Sequence[str], now: datetime) -> Sequence[Refused]:
        """Send a test to each of these recipients. Raises ChannelFailed."""


def read_secret(setting: str, path: Path) -> str:
    """The text of the file that `setting` names, read when needed so that a new one needs no reload."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ChannelFailed(f"{setting} {path}: {reason}") from None
