"""Sends warnings from a separate thread, so that a mail server that is down never delays a renewal.

Each channel has its own outboxes: a channel that fails delays no other. A stalled maintenance loop is also worth a
warning, so this thread does not depend on that loop. Of several nodes, one warns about the sites and about what all
nodes find; each one warns about its own problems.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from certstore.files.keyed_state import KeyedState, is_read_by
from certstore.model.duty import Alone, Duty
from certstore.model.layout import Layout
from certstore.model.notify.due_notices import Told
from certstore.model.notify.standing_problems import FoundProblem, Standing
from certstore.model.notify.warnings import Matter
from certstore.model.settings.models import NotifySettings
from certstore.notify.channel import Channel, ChannelFailed, Refused
from certstore.notify.mail import MailChannel
from certstore.notify.outbox import Outbox
from certstore.notify.problem_tracker import ProblemTracker
from certstore.notify.told_sharing import OneTeller, ToldSharing
from certstore.notify.webhook import WebhookChannel

logger = logging.getLogger(__name__)

ROUND_SECONDS = 30.0

Matters = Callable[[datetime], Sequence[tuple[Matter, tuple[str, ...]]]]
Problems = Callable[[datetime], Iterable[FoundProblem]]


class Notifier:
    """`matters` returns what there is to warn about, each with the contacts of its site, and `problems` what is wrong
    with the service now. `edge` names this install in warnings, and `node` this machine in a cluster; relative paths of
    the settings are relative to `base`. While another node has the `duty`, nothing is sent but tests and this node's
    own problems. `told` is what other nodes have told recipients of sites' warnings, and hears what this one does.
    """

    def __init__(
        self,
        settings: NotifySettings,
        base: Path,
        layout: Layout,
        matters: Matters,
        *,
        edge: str,
        clock: Callable[[], datetime],
        duty: Duty | None = None,
        told: ToldSharing | None = None,
        problems: Problems = lambda _: (),
        node: str = "",
    ) -> None:
        self._duty = duty or Alone()
        self.channels: list[Channel] = []
        if settings.smtp is not None:
            self.channels.append(MailChannel(settings.smtp, settings, base, edge))
        if settings.webhook is not None:
            self.channels.append(WebhookChannel(settings.webhook, base, edge))
        self._matters = matters
        self._problems = problems
        self._clock = clock
        self._kept, self._kept_own = (
            KeyedState(path, layout.temporary, is_valid=is_read_by(Told.from_json))
            for path in (layout.mails, layout.service_mails)
        )
        self._sharing = told or OneTeller()
        self._sharing.offer({each: Told.from_json(facts) for each, facts in self._kept.items()})
        self._outboxes = [Outbox(channel, self._kept, self._sharing) for channel in self.channels]
        self._own_outboxes = [Outbox(channel, self._kept_own, node=node) for channel in self.channels]
        self._tracker = ProblemTracker(layout)
        self._common = self._tracker.unknown()
        """What every node finds, as this one saw it last."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the first of the failing channels delivers no warnings; None if all work."""
        return next((each.problem for each in self._all_outboxes if each.problem is not None), None)

    @property
    def postponed(self) -> int:
        return sum(each.postponed for each in self._all_outboxes)

    @property
    def _all_outboxes(self) -> list[Outbox]:
        return [*self._own_outboxes, *self._outboxes]

    def test(self, recipients: Sequence[str] = ()) -> tuple[list[str], list[Refused]]:
        """Send a test to these recipients, by default to all of every channel: who got it, and who was refused.

        Tries every channel, then raises ChannelFailed if one failed.
        """
        if not self.channels:
            raise ChannelFailed("neither notify.smtp nor notify.webhook is set in edge.yaml")
        now, sent, refused = self._clock(), list[str](), list[Refused]()
        failed: ChannelFailed | None = None
        for channel in self.channels:
            addressed = [each for each in recipients or channel.recipients(()) if channel.serves(each)]
            if not addressed:
                continue
            try:
                refusals = channel.test(addressed, now)
            except ChannelFailed as error:
                failed = failed or error
                continue
            refused += refusals
            sent += [each for each in addressed if each not in {item.recipient for item in refusals}]
        if failed is not None:
            raise failed
        return sent, refused

    def start(self) -> None:
        if not self.channels:
            logger.info("neither notify.smtp nor notify.webhook is set: nobody is warned before a certificate expires")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(ROUND_SECONDS)
        for each in (self._kept, self._kept_own, self._tracker):
            each.close()

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            self.round()

    def round(self) -> None:
        """Send over every channel what is due now; about sites, only if it is this node that warns."""
        now = self._clock()
        try:
            own, common = self._tracker.observe(self._problems(now), now)
        except Exception:
            logger.exception("the problems of the service could not be looked at")
        else:
            for outbox in self._own_outboxes:
                self._send(outbox, [], now, own)
            self._common = common
        if not self._duty.is_mine_to_warn():
            return
        for recipient, told in self._sharing.news().items():
            for outbox in self._outboxes:
                outbox.learn(recipient, told)
        for outbox in self._outboxes:
            self._send(outbox, None, now, self._common)

    def _send(
        self, outbox: Outbox, matters: Sequence[tuple[Matter, tuple[str, ...]]] | None, now: datetime, found: Standing
    ) -> None:
        """None: those of the sites."""
        try:
            outbox.round(self._matters(now) if matters is None else matters, now, found)
        except Exception:
            # One faulty notice must stop neither later ones nor those of another channel.
            logger.exception("a round of warnings failed")
