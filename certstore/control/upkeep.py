"""What looks after certificates, as one thing to start and stop: the renewal of certificates, and warnings by mail.

Control makes one beside its writer and starts it; the command line, where no control runs, makes one for a single
command (`commands.on_network`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from certstore.acme.token_sharing import TokenSharing
from certstore.files.clock import utc_now
from certstore.model.duty import Duty
from certstore.model.notify.standing_problems import FoundProblem
from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN
from certstore.monitoring.standing_problems import find_problems
from certstore.notify.notifier import Notifier
from certstore.notify.told_sharing import ToldSharing
from certstore.renewal.loop import Maintenance
from certstore.renewal.order_sharing import OrderSharing
from certstore.store.writer import StoreWriter


class Upkeep:
    """Call `start` and `stop` once each. Without `start` it only does what commands ask for. `duty` says whether this
    node is the one of its cluster that renews and warns; without one, it is. `sharing` gives challenge tokens to the
    other nodes, `orders` what it orders, `told` what recipients of warnings have been told.
    """

    def __init__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        duty: Duty | None = None,
        sharing: TokenSharing | None = None,
        orders: OrderSharing | None = None,
        told: ToldSharing | None = None,
    ) -> None:
        self.writer = writer
        self.settings = settings
        self.base = base
        self.maintenance = Maintenance(writer, settings, base, clock=clock, duty=duty, sharing=sharing, orders=orders)
        self.notifier = Notifier(
            settings.notify,
            base,
            writer.layout,
            self.maintenance.warnings,
            edge=writer.site(MAIN).host,
            clock=clock,
            duty=duty,
            told=told,
            problems=self._problems,
            node=_node(settings),
        )

    def _problems(self, now: datetime) -> Iterable[FoundProblem]:
        """What is wrong with the service itself."""
        main, of_main = self.writer.site(MAIN).certificate, self.writer.problems(MAIN)
        overdue = self.maintenance.overdue(now)
        return find_problems(self.settings, self.writer.layout, main, of_main, now, overdue)

    def start(self) -> None:
        self.maintenance.start()
        self.notifier.start()

    def stop(self) -> None:
        """Running orders stop at their next pause; the next start resumes them."""
        self.notifier.stop()
        self.maintenance.stop()


def _node(settings: Settings) -> str:
    """What mails call this machine; empty where there is no other."""
    if settings.cluster is None:
        return ""
    return settings.cluster.node or socket.gethostname().partition(".")[0].lower()
