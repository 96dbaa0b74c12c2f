"""The console beside the control process: opened with what control has, and never in its way.

Imported when control is ready, as the imports take as long as a start may. What can't be had (a port, the folder of
users) is logged, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certstore.admin.context import ConsoleContext, Tell
from certstore.admin.server import console
from certstore.control.protocol import Answer, Request, Result
from certstore.files.clock import utc_now
from certstore.model.settings.models import Settings
from certstore.people.access import Access
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.control.upkeep import Upkeep

logger = logging.getLogger(__name__)

PerformInLoop = Callable[[Request, Tell], Awaitable[Answer]]


@contextlib.asynccontextmanager
async def serve_console(
    writer: StoreWriter,
    settings: Settings,
    base: Path,
    perform: PerformInLoop,
    upkeep: Callable[[], Upkeep | None],
) -> AsyncIterator[Access | None]:
    """Serve for as long as the context lasts. Gives what the verbs on users and tokens work on, None where that can't
    be opened."""
    context = ConsoleContext(writer, settings, base, _from_threads(perform), upkeep, utc_now)
    async with contextlib.AsyncExitStack() as stack:
        access: Access | None = None
        try:
            access = stack.enter_context(Access.opened(writer.layout))
            await stack.enter_async_context(console(context, access))
        except (OSError, ssl.SSLError) as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
            logger.error("there is no console on %s: %s", settings.admin.listen, what)
        except Exception as error:  # noqa: BLE001  certificates are served, taken in and renewed without a console
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("there is no console: %s at\n%s", type(error).__name__, where)
        yield access


def _from_threads(perform: PerformInLoop) -> Callable[..., dict[str, Any]]:
    """Control performs verbs from its loop; pages and API wait for them on threads."""
    loop = asyncio.get_running_loop()

    async def answered(request: Request, tell: Tell) -> Answer:
        return await perform(request, tell)

    def from_thread(verb: str, args: Mapping[str, Any], tell: Tell = lambda message: None) -> dict[str, Any]:
        answer = asyncio.run_coroutine_threadsafe(answered(Request(verb, args), tell), loop).result()
        if isinstance(answer, Result):
            return answer.facts
        assert isinstance(answer, Exception), "a verb ends in a result or a failure"  # noqa: S101
        raise answer

    return from_thread
