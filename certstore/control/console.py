"""What control gives the console: the store's writer to read from, and a way to perform commands.

The console changes the store only through `perform`, as the control socket does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.control.commands.requests import Perform
from certstore.files.clock import Clock, utc_now
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep
    from certstore.people.access import Access


@dataclass(frozen=True, slots=True)
class ConsoleContext:
    """`perform` may be called from any thread but the loop's; `upkeep` returns None if orders and warnings could not
    start."""

    writer: StoreWriter
    settings: Settings
    base: Path
    perform: Perform
    upkeep: Callable[[], Upkeep | None]
    clock: Clock = utc_now


type Console = Callable[[ConsoleContext, Access], AbstractAsyncContextManager[None]]
"""Serves the console for as long as the context lasts. It logs why it can't serve, and raises nothing for it."""
