"""Serves the console inside the control process's own event loop, on `admin.listen`, over HTTPS.

It begins when control is ready and ends before anything else of it does. Where it can't begin (its port is taken, say)
certificates are taken in, ordered and served all the same, and the log says why there is no console.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import uvicorn

from certstore.admin.actions.action import Actions
from certstore.admin.app import build_app
from certstore.admin.context import ConsoleContext
from certstore.admin.http.connections import LIMIT, BoundedProtocol
from certstore.admin.http.tls import LiveTlsContext
from certstore.admin.live.broadcast import Broadcast
from certstore.admin.live.jobs import Jobs
from certstore.admin.live.reachability import Reachability
from certstore.admin.live.site_index import SiteIndex
from certstore.admin.live.streams import Streams
from certstore.admin.live.uploads import Uploads
from certstore.model.settings.models import HostPort
from certstore.people.access import Access
from certstore.people.invitations import FIRST
from certstore.people.passwords import Passwords
from certstore.people.throttle import Throttle

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""How soon an open overview hears of a change."""

_END_SECONDS = 1
_ROUNDS = 10
"""Of the loop, in which aborted connections come apart."""


@contextlib.asynccontextmanager
async def console(context: ConsoleContext, access: Access) -> AsyncIterator[str]:
    """The console, for as long as the context lasts; its address. Raises OSError, ssl.SSLError."""
    actions = build_actions(context, access)
    listener = _listen(context.settings.admin.listen)
    # It would log exceptions with their messages, which could quote what was sent; `app` logs them without.
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
    """In a running loop. Its jobs are to be stopped and its index closed."""
    news = Broadcast()
    return Actions(
        context,
        access,
        SiteIndex(context, news.tell),
        Jobs(context.clock, news.tell),
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
    def chosen(config: uvicorn.Config, default: object) -> ssl.SSLContext:
        return context.listening

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
        timeout_graceful_shutdown=_END_SECONDS,
        ssl_context_factory=chosen,
    )


class _Server(uvicorn.Server):
    """Signals are the control process's own affair."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def abort_rest(self) -> None:
        """Browsers keep connections open, and take their time to answer a TLS farewell."""
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
            # The next look may succeed; pages show what the last one found.
            logger.exception("the console could not look at the sites")
        await asyncio.sleep(REFRESH_SECONDS)


def _announce_set_up(access: Access, address: str) -> None:
    """As long as nobody can sign in as an administrator, every start prints a fresh one-time link."""
    if not access.users.is_empty:
        return
    secret = access.invitations.make(FIRST)
    logger.warning(
        "the console has no administrator yet. Open this link once to become it: %s/setup?link=%s "
        "(or: certedge admin user add NAME)",
        address,
        secret,
    )
