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

from certstore.control.console import ConsoleContext
from certstore.people.access import Access

logger = logging.getLogger(__name__)

type Serve = Callable[[ConsoleContext, Access], contextlib.AbstractAsyncContextManager[str]]


@contextlib.asynccontextmanager
async def serve_console(context: ConsoleContext, access: Access) -> AsyncIterator[None]:
    """A `certstore.control.console.Console`."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            serve = await asyncio.to_thread(_import_server)
            await stack.enter_async_context(serve(context, access))
        except (OSError, ssl.SSLError) as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
            logger.error("there is no console on %s: %s", context.settings.admin.listen, what)
        except Exception as error:  # noqa: BLE001  certificates are served, installed and renewed without a console
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("there is no console: %s at\n%s", type(error).__name__, where)
        yield


def _import_server() -> Serve:
    from certstore.admin.server import console

    return console
