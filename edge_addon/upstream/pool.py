"""The web servers of one site: which one gets the next request, and the idle connections to them.

The server with the fewest requests under way gets the next one. A server that refuses a connection gets none for a
while if there are others (passive health check), and neither does one that fails its active check. When all servers
are marked as failing, each is still tried: a wrong mark must not take a site down. How many connections there may be is
decided by `bounds`. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from certstore.model.settings.models import Limits, Upstream
from edge_addon.http.limits import (
    CONNECT_SECONDS,
    FAILED_SECONDS,
    POOL_CLEANUP_SECONDS,
    POOL_IDLE_SECONDS,
    POOL_MAX_IDLE,
)
from edge_addon.transport.server_tls import TlsTransport, upstream_context
from edge_addon.transport.timers import Timers
from edge_addon.upstream.bounds import AddressUsage, Bounds, Cancellable, Exceeded, Line, serve
from edge_addon.upstream.connection import PoolOwner, UpstreamConnection
from edge_addon.upstream.health_check import HealthCheck
from edge_addon.upstream.opening import ConnectionWaiter, Opening
from edge_addon.upstream.paths import opened

logger = logging.getLogger(__name__)


class Server:
    """One upstream: its idle connections, the last used at the end, and whether it works."""

    def __init__(
        self,
        upstream: Upstream,
        time: Callable[[], float],
        max_head: int,
        base: Path,
        outside: Path | None,
        bounds: Bounds,
        waiting: Line,
        on_room: Callable[[AddressUsage], None],
    ) -> None:
        """`waiting`: the line of the pool; `on_room` learns that there is room for it, or for that of an address."""
        self.upstream = upstream
        self.name = upstream.url
        self.idle: dict[UpstreamConnection, None] = {}
        self.active = 0
        self.failed_until = 0.0
        """0 after a connection that succeeded."""
        self.worked_at = -math.inf
        """When the last connection succeeded."""
        self.failure = ""
        """Why the last connection could not be made."""
        self.is_unhealthy = False
        """The result of its last health check, if it has one."""
        self.is_retired = False
        self._time = time
        self._max_head = max_head
        self._base = base
        self._outside = outside
        self._bounds = bounds
        self._waiting = waiting
        self._on_room = on_room
        self._context: ssl.SSLContext | None = None

    def take_idle(self, min_since: float) -> UpstreamConnection | None:
        """The connection used last, unless it has been idle since before `min_since`."""
        idle = self.idle
        while idle:
            connection, _ = idle.popitem()
            if not connection.is_usable:
                continue
            if connection.idle_since < min_since:
                idle[connection] = None  # all others have been idle longer
                return None
            connection.is_reused = connection.is_active = True
            self.active += 1
            return connection
        return None

    def give_back(self, connection: UpstreamConnection) -> None:
        """The connection can serve another request."""
        self._deactivate(connection)
        connection.idle_since = self._time()
        if self.is_retired or len(self.idle) >= POOL_MAX_IDLE:
            connection.close_idle()
        else:
            self.idle[connection] = None
            self._bounds.file_freed()  # it can be had

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is closed, whether it was idle or in use."""
        self.idle.pop(connection, None)
        if connection.is_open:
            connection.is_open = False
            self._bounds.open -= 1
            self._bounds.file_freed()
        self._deactivate(connection)

    def _deactivate(self, connection: UpstreamConnection) -> None:
        if connection.is_active:
            connection.is_active = False
            self.active -= 1
            usage, connection.usage = connection.usage, None
            if usage is not None:
                usage.active -= 1
                if usage.waiting or self._waiting:
                    self._on_room(usage)

    def close_idle(self, before: float) -> None:
        """Close the connections that have been idle since before `before`."""
        for connection in list(self.idle):
            if connection.idle_since >= before:
                return
            del self.idle[connection]
            connection.close_idle()

    async def connect(self) -> UpstreamConnection:
        """A new connection, counted as active; raises OSError (which includes ssl.SSLError and TimeoutError)."""
        loop, upstream = asyncio.get_running_loop(), self.upstream
        self.active += 1
        self._bounds.open += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if upstream.unix_path is not None:
                    with opened(Path(upstream.unix_path), os.O_PATH, self._outside) as path:
                        _, connection = await loop.create_unix_connection(self._make, path)
                else:
                    host, port = upstream.address
                    if upstream.is_tls:
                        connection = await self._connect_tls(loop, host, port)
                    else:
                        _, connection = await loop.create_connection(self._make, host, port)
        except BaseException:
            self.active -= 1
            self._bounds.open -= 1
            self._bounds.file_freed()
            raise
        connection.is_active = connection.is_open = True
        return connection

    async def _connect_tls(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> UpstreamConnection:
        connection, is_done = self._make(), loop.create_future()

        def note(problem: OSError | None) -> None:
            if problem is None:
                connection.connection_made(transport)
            if not is_done.done():
                is_done.set_result(problem)

        transport = TlsTransport(connection, self._tls(), self.upstream.name or host, note)
        lower, _ = await loop.create_connection(lambda: transport, host, port)
        try:
            if (problem := await is_done) is not None:
                raise problem
        except BaseException:
            lower.abort()
            raise
        return connection

    def mark_failed(self, error: OSError) -> None:
        """Prefer other servers for a while. Logged once per outage, not once per request."""
        if not self.failed_until:
            logger.warning("upstream %s can't be reached: %s", self.name, str(error) or type(error).__name__)
        self.failure = str(error) or type(error).__name__
        self.failed_until = self._time() + FAILED_SECONDS

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self, self._max_head)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            base, upstream = self._base, self.upstream
            context = upstream_context(base / upstream.ca_file if upstream.ca_file else None)
            context.set_alpn_protocols(["http/1.1"])
            if upstream.client_cert is not None:
                with opened(base / upstream.client_cert, os.O_RDONLY, self._outside) as path:
                    # With a password a locked key is refused; without one OpenSSL would ask on the terminal and wait.
                    context.load_cert_chain(path, password="")
            self._context = context
        return self._context


class UpstreamPool:
    """The servers of one site and the connections to them."""

    def __init__(
        self,
        upstreams: tuple[Upstream, ...],
        timers: Timers,
        limits: Limits,
        base: Path,
        count: Callable[[str], None],
        bounds: Bounds,
        outside: Path | None = None,
    ) -> None:
        """`base`: the folder that relative paths of `edge.yaml` start from; `count` counts events by their cause. No
        socket or client certificate may lie below `outside`.
        """
        self._pending = 0
        """Connections that will be made in a moment."""
        self._time = time = timers.time
        self._count = count
        self._bounds = bounds
        self._waiting: Line = {}
        bounds.holders.append(self)
        self.servers = tuple(
            Server(upstream, time, limits.header_bytes, base, outside, bounds, self._waiting, self._on_room)
            for upstream in upstreams
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._cleanup_timer = timers.timer()
        self._is_cleanup_scheduled = False
        self._checks = tuple(
            HealthCheck(server, server.upstream.health)
            for server in self.servers
            if server.upstream.health is not None and len(self.servers) > 1
        )

    def take(self, usage: AddressUsage, max_idle: float) -> UpstreamConnection | None:
        """A connection to the best server that has been idle for up to `max_idle` seconds, or None: then `open` one."""
        if usage.active >= self._bounds.per_address:
            return None
        server = self.servers[0] if len(self.servers) == 1 else self._best()
        if not server.idle:
            return None
        connection = server.take_idle(self._time() - max_idle)
        if connection is not None:
            connection.usage = usage
            usage.active += 1
        return connection

    def open(
        self, waiter: ConnectionWaiter, usage: AddressUsage, *, max_idle: float = 0.0, avoid: PoolOwner | None = None
    ) -> Cancellable:
        """Connect to the best server, and to the next best as long as connecting fails; `avoid` comes last.

        A request above a bound waits in a line first, and may then get a connection that has been idle for `max_idle`
        seconds. Cancel what is returned to end the wait without a call.
        """
        opening = Opening(self, waiter, usage, max_idle, avoid)
        exceeded = self.exceeded(usage)
        if exceeded is None:
            self._connect(opening)
        else:
            self._count("upstream_waits")
            opening.wait(self.line(exceeded, usage), exceeded)
        if not self._is_cleanup_scheduled:
            self._is_cleanup_scheduled = True
            self._cleanup_timer.set(POOL_CLEANUP_SECONDS, self._clean_up)
        return opening

    def exceeded(self, usage: AddressUsage) -> Exceeded | None:
        """The bound that keeps this address from one more connection. Where one is idle, there is room for a file."""
        bounds = self._bounds
        if usage.active >= bounds.per_address:
            return Exceeded.ADDRESS
        if self.active >= bounds.per_pool:
            return Exceeded.POOL
        if not bounds.has_files and not bounds.has_idle:
            return Exceeded.FILES
        return None

    @property
    def active(self) -> int:
        """Connections in use or being made."""
        return self._pending + sum(server.active for server in self.servers)

    @property
    def _idle(self) -> int:
        return sum(len(server.idle) for server in self.servers)

    def line(self, exceeded: Exceeded, usage: AddressUsage) -> Line:
        """Where a request above this bound waits."""
        if exceeded is Exceeded.ADDRESS:
            return usage.waiting
        return self._waiting if exceeded is Exceeded.POOL else self._bounds.waiting

    def begin(self, opening: Opening) -> None:
        """Serve a request whose wait in a line is over."""
        connection = self.take(opening.usage, opening.max_idle) if opening.max_idle else None
        if connection is None:
            self._connect(opening)
        else:
            opening.waiter.connected(connection)

    def _connect(self, opening: Opening) -> None:
        if self.active + self._idle >= self._bounds.per_pool:
            self.close_an_idle()
        elif not self._bounds.has_files:
            self._bounds.close_an_idle()
        self._pending += 1
        opening.is_pending = True
        opening.usage.active += 1
        task = opening.task = asyncio.get_running_loop().create_task(self._open(opening))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._opened(opening))

    def _opened(self, opening: Opening) -> None:
        if opening.task is not None:
            self._tasks.discard(opening.task)
            opening.task = None
        if opening.is_pending:
            self._pending -= 1
        if not opening.has_connection:
            opening.usage.active -= 1
            self._on_room(opening.usage)

    def _on_room(self, usage: AddressUsage) -> None:
        """Serve those who wait, but not from here: the connection may be in the middle of a response."""
        asyncio.get_running_loop().call_soon(self._serve, usage)

    def _serve(self, usage: AddressUsage) -> None:
        serve(usage.waiting)
        serve(self._waiting)

    async def _open(self, opening: Opening) -> None:
        self._pending -= 1
        opening.is_pending = False
        cause = "upstream_unreachable"
        avoid = opening.avoid
        tried: set[Server] = set()
        while left := [server for server in self.servers if server not in tried]:
            server = self._best([each for each in left if each is not avoid] or left)
            tried.add(server)
            try:
                connection = await server.connect()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    cause = Exceeded.FILES  # the server is not at fault
                    break
                cause = _cause_of(error)
                self._count("upstream_connect_failed")
                server.mark_failed(error)
                continue
            except Exception:
                # An unexpected error must not leave a request waiting.
                logger.exception("connecting to %s", server.name)
                break
            server.failed_until, server.worked_at = 0.0, self._time()
            opening.has_connection = True
            connection.usage = opening.usage
            opening.waiter.connected(connection)
            return
        opening.waiter.not_connected(cause)

    def _best(self, servers: Sequence[Server] | None = None) -> Server:
        """The least busy of the servers that work, or of all when none does."""
        now = self._time()
        return min(
            servers or self.servers,
            key=lambda server: (server.is_unhealthy or server.failed_until > now, server.active),
        )

    def oldest_idle(self) -> float | None:
        """Since when its oldest idle connection has been idle; None without one."""
        return min((next(iter(each.idle)).idle_since for each in self.servers if each.idle), default=None)

    def close_an_idle(self) -> None:
        """Close the connection that has been idle for the longest time, if there is one."""
        servers = [server for server in self.servers if server.idle]
        if servers:
            oldest = min(servers, key=lambda server: next(iter(server.idle)).idle_since)
            connection = next(iter(oldest.idle))
            del oldest.idle[connection]
            connection.close_idle()

    def _clean_up(self) -> None:
        """Close connections that have been idle too long; stop once none is left."""
        before = self._time() - POOL_IDLE_SECONDS
        for server in self.servers:
            server.close_idle(before)
        if self._idle or any(server.active for server in self.servers):
            self._cleanup_timer.set(POOL_CLEANUP_SECONDS, self._clean_up)
        else:
            self._is_cleanup_scheduled = False

    def close(self) -> None:
        """Close idle connections and keep no more; requests under way continue."""
        self._cleanup_timer.cancel()
        if self in self._bounds.holders:
            self._bounds.holders.remove(self)
        for check in self._checks:
            check.stop()
        for server in self.servers:
            server.is_retired = True
            server.close_idle(math.inf)


def _cause_of(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "upstream_connect_timeout"
    if isinstance(error, ssl.SSLError):
        return "upstream_tls_failed"
    return "upstream_unreachable"
