"""Starts the console for the control process.

The process that starts control hands it `serve_console`. The rest of the console is imported when control is ready,
because that takes a while. If the console can't start (its port is taken, a package is missing), the log says why, and
everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from certstore.admin.context import ConsoleContext
from certstore.control.commands.requests import Perform
from certstore.files.clock import utc_now
from certstore.model.settings.models import Settings
from certstore.people.access import Access
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep

logger = logging.getLogger(__name__)

type Serve = Callable[[ConsoleContext, Access], contextlib.AbstractAsyncContextManager[str]]


@contextlib.asynccontextmanager
async def serve_console(
    writer: StoreWriter,
    settings: Settings,
    base: Path,
    access: Access,
    perform: Perform,
    upkeep: Callable[[], Upkeep | None],
) -> AsyncIterator[None]:
    """Serve the console for as long as the context lasts: a `certstore.control.process.Console`."""
    context = ConsoleContext(writer, settings, base, perform, upkeep, utc_now)
    async with contextlib.AsyncExitStack() as stack:
        try:
            serve = await asyncio.to_thread(_import_server)
            await stack.enter_async_context(serve(context, access))
        except (OSError, ssl.SSLError) as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
            logger.error("there is no console on %s: %s", settings.admin.listen, what)
        except Exception as error:  # noqa: BLE001  certificates are served, installed and renewed without a console
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("there is no console: %s at\n%s", type(error).__name__, where)
        yield


def _import_server() -> Serve:
    from certstore.admin.server import console

    return console
