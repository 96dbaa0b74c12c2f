"""What the console is given by the control process: the store's writer to ask, and a way to have verbs performed.

The console never changes the store by any other way than `perform`, which is what the control socket uses too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.commands.requests import Perform
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class ConsoleContext:
    """`perform` is called from any thread but the loop's; `upkeep` gives None where orders and warnings could not
    begin."""

    writer: StoreWriter
    settings: Settings
    base: Path
    perform: Perform
    upkeep: Callable[[], Upkeep | None]
    clock: Callable[[], datetime]
