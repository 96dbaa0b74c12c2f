"""What looks after certificates, as one thing to start, stop and ask: maintenance, mails, and the verbs of both.

Control makes one beside its writer and starts it; the command line, where no control runs, makes one for a single verb.
These verbs take minutes and wait for networks: they run on any thread but the writer's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN
from certstore.notify.notifier import Notifier
from certstore.renewal.loop import Maintenance
from certstore.store.writer import StoreWriter

Tell = Callable[[str], None]


class Upkeep:
    """`start` and `stop` once each; without `start` only what is asked for is done."""

    def __init__(
        self,
        writer: StoreWriter,
        settings: Settings,
        base: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.writer = writer
        self.settings = settings
        self.base = base
        self.maintenance = Maintenance(writer, settings, base, clock=clock)
        self.notifier = Notifier(
            settings.notify,
            base,
            writer.layout,
            self.maintenance.warnings,
            edge=writer.site(MAIN).host,
            clock=clock,
        )

    def start(self) -> None:
        self.maintenance.start()
        self.notifier.start()

    def stop(self) -> None:
        """Orders under way end at their next pause; the next start picks them up."""
        self.notifier.stop()
        self.maintenance.stop()

    def perform(self, command: str, args: Mapping[str, Any], tell: Tell = lambda message: None) -> dict[str, Any]:
        """One of `care_verbs.CARE_VERBS`. Raises VerbFailed, OSError."""
        from certstore.control.commands.on_network import perform_care

        return perform_care(self, command, args, tell)
