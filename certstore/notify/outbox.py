"""What one channel has to deliver: plans the notices that are due, sends them, and waits after a failure.

Records what a recipient has been told as soon as a notice is accepted. If the process is killed in between, the notice
is sent once more, with the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from certstore.files.keyed_state import KeyedState
from certstore.model.notify.due_notices import Notice, Told, day_of, plan_notices
from certstore.model.notify.standing_problems import NONE_STANDING, Standing
from certstore.model.notify.warnings import Matter
from certstore.notify.channel import Channel, ChannelFailed, Refused
from certstore.notify.told_sharing import OneTeller, ToldSharing

logger = logging.getLogger(__name__)

_RETRIES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=30))
_REFUSED_AGAIN = timedelta(hours=6)
NOTICES_A_ROUND = 100
NEWCOMERS_A_DAY = 1000
"""Recipients whom only sites name, and who have never got a mail: the writer of a site.yaml can name anybody."""


class Outbox:
    """`problem` says why notices are not delivered; None when there is none. `postponed` counts how often a notice had
    to wait for a later round or day. `node` is that of an outbox for one node's own problems, as in `Notice`."""

    def __init__(
        self, channel: Channel, kept: KeyedState, sharing: ToldSharing | None = None, *, node: str | None = None
    ) -> None:
        self._sharing = sharing or OneTeller()
        self.postponed = 0
        self.problem: str | None = None
        self._channel, self._node = channel, node
        self._kept = kept
        self._told = {each: Told.from_json(facts) for each, facts in kept.items() if channel.serves(each)}
        self._failures = 0
        self._not_before: datetime | None = None
        self._refused: dict[str, datetime] = {}
        self._newcomers = (date.min, 0)
        """The day, and how many recipients got their first mail on it."""
        self._logged_full = date.min
        self._lost: set[str] = set()
        """Recipients whose notices broke the connection at the last attempt."""

    def round(
        self, matters: Iterable[tuple[Matter, Collection[str]]], now: datetime, standing: Standing = NONE_STANDING
    ) -> None:
        """Send what is due now, but nothing while the other side is given time to recover.

        The problems that are `standing` go to the administrator's recipients, never to those whom sites name.
        """
        if self._not_before is not None and _is_ahead(self._not_before, now, _RETRIES[-1]):
            return
        addressed = [(matter, self._channel.recipients(contacts)) for matter, contacts in matters]
        due = plan_notices(addressed, self._told, now, standing=standing, operators=self._channel.recipients(()))
        due = [
            replace(notice, node=self._node)
            for notice in due
            if not _is_ahead(self._refused.get(notice.recipient, now), now, _REFUSED_AGAIN)
        ]
        due = self._bounded(due, now)
        if due:
            # If the server accepts no second connection, the notices that broke the last one must not go first again.
            self._send(sorted(due, key=lambda notice: notice.recipient in self._lost), now)

    def learn(self, recipient: str, told: Told) -> None:
        """Another node has told a recipient something."""
        if self._channel.serves(recipient):
            self._told[recipient] = told
            self._keep(recipient, told)

    def _bounded(self, due: Sequence[Notice], now: datetime) -> list[Notice]:
        """The notices of this round, those of the administrator's recipients first. The others wait for the next."""
        own = set(self._channel.recipients(()))
        today = day_of(now)
        if self._newcomers[0] != today:
            self._newcomers = (today, 0)
        room = NEWCOMERS_A_DAY - self._newcomers[1]
        chosen: list[Notice] = []
        for notice in sorted(due, key=lambda notice: notice.recipient not in own):
            is_new = notice.recipient not in own and notice.recipient not in self._told
            if is_new and room <= 0:
                self._log_full(today)
                continue
            room -= is_new
            chosen.append(notice)
        self.postponed += len(due) - len(chosen[:NOTICES_A_ROUND])
        return chosen[:NOTICES_A_ROUND]

    def _log_full(self, today: date) -> None:
        if self._logged_full != today:
            self._logged_full = today
            logger.warning("%s: %d new recipients today: more have to wait", self._channel.name, NEWCOMERS_A_DAY)

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
                "%s: can't send warnings: %s; next attempt in %d minutes",
                self._channel.name,
                failed,
                wait.seconds // 60,
            )
            return
        self._failures, self._not_before, self.problem = 0, None, None
        self._lost.clear()
        self._note_refused(refused, now)

    def _note_refused(self, refused: Sequence[Refused], now: datetime) -> None:
        for each in refused:
            self._refused[each.recipient] = now + _REFUSED_AGAIN
            self.problem = f"a warning to {each.recipient} was refused: {each.reason}"
            logger.error("%s: %s", self._channel.name, self.problem)

    def _note(self, notice: Notice) -> None:
        """In memory first: even with a full disk, nobody gets a notice twice from this process."""
        if notice.recipient not in self._told and notice.recipient not in self._channel.recipients(()):
            self._newcomers = (self._newcomers[0], self._newcomers[1] + 1)
        self._told[notice.recipient] = notice.told
        logger.info("%s: %s notice delivered to %s", self._channel.name, notice.kind, notice.recipient)
        self._keep(notice.recipient, notice.told)
        self._sharing.tell(notice.recipient, notice.told)

    def _keep(self, recipient: str, told: Told) -> None:
        try:
            self._kept.put(recipient, told.to_json())
        except OSError as error:
            logger.error("can't record what %s has been told: %s", recipient, error.strerror)


def _is_ahead(then: datetime, now: datetime, most: timedelta) -> bool:
    """Bounded: after the clock was set back, notices must not wait for the date it showed before."""
    return timedelta() < then - now <= most
