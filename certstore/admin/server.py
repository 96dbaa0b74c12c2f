"""Serves the console over HTTPS on `admin.listen`, in the control process's event loop.

It starts when control is ready and is the first part to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from certstore.admin.actions.action import Actions
from certstore.admin.app import build_app
from certstore.admin.http.connections import LIMIT, BoundedProtocol
from certstore.admin.http.tls import LiveTlsContext
from certstore.admin.live.broadcast import Broadcast
from certstore.admin.live.jobs import Jobs
from certstore.admin.live.reachability import Reachability
from certstore.admin.live.site_index import SiteIndex
from certstore.admin.live.streams import Streams
from certstore.admin.live.uploads import Uploads
from certstore.control.console import ConsoleContext
from certstore.model.settings.addresses import HostPort
from certstore.people.access import Access
from certstore.people.invitations import FIRST
from certstore.people.passwords import Passwords
from certstore.people.throttle import Throttle

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""How soon an open overview shows a change."""

_SHUTDOWN_SECONDS = 1
_ROUNDS = 10
"""Rounds of the loop in which aborted connections are torn down."""


@contextlib.asynccontextmanager
async def console(context: ConsoleContext, access: Access) -> AsyncIterator[str]:
    """Serve the console for as long as the context lasts; its address. Raises OSError, ssl.SSLError."""
    actions = build_actions(context, access)
    listener = _listen(context.settings.admin.listen)
    # uvicorn would log exceptions with their messages, which may quote the request; `app` logs them without.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = _Server(_config(build_app(actions), LiveTlsContext(context.writer.layout)))
    address = f"https://{HostPort(*listener.getsockname()[:2])}"
    serving = asyncio.create_task(server.serve([listener]), name="console")
    looking = asyncio.create_task(_keep_index_fresh(actions.index), name="console-index")
    try:
        logger.info("the console is on %s", address)
        await asyncio.to_thread(_announce_set_up, access, address)
        yield address
    finally:
        looking.cancel()
        actions.news.close()
        server.should_exit = True
        await asyncio.gather(serving, looking, return_exceptions=True)
        await server.abort_rest()
        actions.jobs.stop()
        actions.index.close()


def build_actions(context: ConsoleContext, access: Access) -> Actions:
    """Needs a running loop. The caller stops the jobs and closes the index."""
    news = Broadcast()
    return Actions(
        context,
        access,
        SiteIndex(context, news.announce),
        Jobs(context.clock, news.announce),
        Uploads(context.clock),
        Passwords(),
        Throttle(context.clock),
        Reachability(context),
        news,
        Streams(),
    )


def _listen(address: HostPort) -> socket.socket:
    family, kind, protocol, _, resolved = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address.host != "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(resolved)
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _config(app: object, context: LiveTlsContext) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=LIMIT + 1,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        ssl_context_factory=lambda config, default: context.listening,
    )


class _Server(uvicorn.Server):
    """Leaves signals to the control process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def abort_rest(self) -> None:
        """Close what is still open: browsers keep connections, and answer a TLS close late."""
        rest = list(self.server_state.connections)
        for connection in rest:
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        for _ in range(_ROUNDS if rest else 0):
            await asyncio.sleep(0)


async def _keep_index_fresh(index: SiteIndex) -> None:
    while True:
        try:
            await asyncio.to_thread(index.refresh)
        except Exception:
            # The next round may succeed; until then pages show what the last one found.
            logger.exception("the console could not refresh its list of sites")
        await asyncio.sleep(REFRESH_SECONDS)


def _announce_set_up(access: Access, address: str) -> None:
    """While there is no administrator, log a new one-time link at every start."""
    if not access.users.is_empty:
        return
    secret = access.invitations.make(FIRST)
    logger.warning(
        "the console has no administrator yet. Open this one-time link to create the account: %s/setup?link=%s "
        "(or run: certedge admin user add NAME)",
        address,
        secret,
    )
