"""What one channel still has to deliver: plans the notices that are due, sends them, and waits when sending fails.

Writes down what a recipient was told the moment a notice is accepted: a kill in between sends it twice at most, with
the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from certstore.files.keyed_state import KeyedState
from certstore.model.notify.due_notices import Notice, Told, plan_notices
from certstore.model.notify.warnings import Matter
from certstore.notify.channel import Channel, ChannelFailed, Refused

logger = logging.getLogger(__name__)

_RETRIES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=30))
_REFUSED_AGAIN = timedelta(hours=6)


class Outbox:
    """One channel's notices. `problem` is why none is delivered now, None while all goes well."""

    def __init__(self, channel: Channel, kept: KeyedState) -> None:
        self.problem: str | None = None
        self._channel = channel
        self._kept = kept
        self._told = {recipient: _told(facts) for recipient, facts in kept.items() if channel.serves(recipient)}
        self._failures = 0
        self._not_before: datetime | None = None
        self._refused: dict[str, datetime] = {}
        self._lost: set[str] = set()
        """Recipients whose notices cost the connection at the last try."""

    def round(self, matters: Iterable[tuple[Matter, Collection[str]]], now: datetime) -> None:
        """Send what is due now; nothing while the other side is given time to recover."""
        # Bounded, because a clock that was set back must not keep notices waiting for a date that it once showed.
        if self._not_before is not None and timedelta() < self._not_before - now <= _RETRIES[-1]:
            return
        addressed = [(matter, self._channel.recipients(contacts)) for matter, contacts in matters]
        due = plan_notices(addressed, self._told, now)
        due = [notice for notice in due if self._refused.get(notice.recipient, now) <= now]
        if due:
            # If the server accepts no second connection, the notices that cost the last one must not go first again.
            self._send(sorted(due, key=lambda notice: notice.recipient in self._lost), now)

    def _send(self, notices: Sequence[Notice], now: datetime) -> None:
        try:
            refused = self._channel.deliver(notices, now, self._note)
        except ChannelFailed as failed:
            self._lost = set(failed.lost)
            self._note_refused(failed.refused, now)
            self._failures += 1
            wait = _RETRIES[min(self._failures, len(_RETRIES)) - 1]
            self._not_before = now + wait
            self.problem = str(failed)
            logger.error(
                "%s: warnings wait: %s; next try in %d minutes", self._channel.name, failed, wait.seconds // 60
            )
            return
        self._failures, self._not_before, self.problem = 0, None, None
        self._lost.clear()
        self._note_refused(refused, now)

    def _note_refused(self, refused: Sequence[Refused], now: datetime) -> None:
        for each in refused:
            self._refused[each.recipient] = now + _REFUSED_AGAIN
            self.problem = f"a warning to {each.recipient} is refused: {each.reason}"
            logger.error("%s: %s", self._channel.name, self.problem)

    def _note(self, notice: Notice) -> None:
        """In memory first: even with a full disk nobody gets the same notice again while this process lives."""
        self._told[notice.recipient] = notice.told
        logger.info("%s: %s notice delivered to %s", self._channel.name, notice.kind, notice.recipient)
        try:
            self._kept.put(notice.recipient, notice.told.to_json())
        except OSError as error:
            logger.error("what %s was told can't be written down: %s", notice.recipient, error.strerror)


def _told(facts: Mapping[str, object]) -> Told:
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        return Told.from_json(facts)
    return Told.nothing()
