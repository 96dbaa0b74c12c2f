"""The inspection of one worker, and each of its client connections as addons know it.

The mitmproxy addon makes it, unless a script that edge.yaml names did not load. Then inspected sites answer 503: they
must not be served without their addons.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from mitmproxy import connection
from mitmproxy.proxy import server_hooks
from mitmproxy.proxy.mode_specs import ProxyMode

from certstore.model.settings.models import ListenerSettings, Upstream
from edge_addon.inspection.body_budget import BodyBudget
from edge_addon.inspection.exchange import InspectedExchange, PoolFinder
from edge_addon.inspection.hooks import Hooks
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.channel import Channel
from edge_addon.upstream.interfaces import ExchangeMaker
from edge_addon.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from mitmproxy.master import Master

MAX_POOLS = 64
"""How many pools are kept for servers that addons chose."""


class Inspector:
    """`keeps_messages`: flows keep all messages of a WebSocket, for users who look at flows (mitmweb)."""

    def __init__(self, master: Master, plane: DataPlane, *, keeps_messages: bool) -> None:
        self.hooks = Hooks(master, keeps_messages=keeps_messages, count=plane.count)
        self.connections: dict[str, Any] = cast(Any, master).addons.get("proxyserver").connections
        """mitmproxy's own table, in which it looks up the connection of a message that the user injects."""
        self._plane = plane
        self._modes: dict[int, ProxyMode] = {}
        self._pools: dict[str, UpstreamPool] = {}

    def know_mode(self, listener: ListenerSettings, mode: ProxyMode) -> None:
        """Note the mode that addons see for connections of this listener."""
        self._modes[id(listener)] = mode

    def client(self, channel: Channel) -> InspectedClient:
        """Announce a client connection to addons, before its first inspected request."""
        client = _describe(channel, self._modes[id(channel.listener)])
        return InspectedClient(self.hooks, client, self.connections, self._find_pool)

    def stop(self) -> None:
        """End what still runs."""
        self.hooks.stop()
        for pool in self._pools.values():
            pool.close()

    def _find_pool(self, scheme: str, host: str, port: int) -> UpstreamPool:
        """The pool for a server that an addon chose. Certificates are verified by the system's authorities."""
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        pool = self._pools.pop(url, None)
        if pool is None:
            if len(self._pools) >= MAX_POOLS:
                self._pools.pop(next(iter(self._pools))).close()  # the one unused for the longest time
            plane = self._plane
            pool = plane.make_pool((Upstream(url=url),))
        self._pools[url] = pool
        return pool


class InspectedClient:
    """One client connection, which makes the exchanges of its inspected requests."""

    def __init__(
        self, hooks: Hooks, client: connection.Client, connections: dict[str, Any], find_pool: PoolFinder
    ) -> None:
        self._hooks = hooks
        self._client = client
        self._connections = connections
        connections[client.id] = hooks
        self._greeting = hooks.run(hooks.fire(server_hooks.ClientConnectedHook(client)))
        self.exchange: ExchangeMaker = partial(
            InspectedExchange, hooks, client, self._greeting, find_pool, BodyBudget()
        )

    def gone(self) -> None:
        """The connection has ended."""
        self._connections.pop(self._client.id, None)
        self._client.state = connection.ConnectionState.CLOSED
        self._client.timestamp_end = time.time()
        self._hooks.give_up(self._greeting)
        self._hooks.give_up(self._hooks.run(self._hooks.fire(server_hooks.ClientDisconnectedHook(self._client))))


def _describe(channel: Channel, mode: ProxyMode) -> connection.Client:
    """The client as mitmproxy would describe it if it had terminated TLS itself."""
    client = connection.Client(
        peername=(*channel.client,),
        sockname=(*channel.local,),
        proxy_mode=mode,
        state=connection.ConnectionState.OPEN,
        tls=channel.secure,
    )
    if channel.secure:
        client.timestamp_tls_setup = time.time()
        client.sni = channel.server_name
        client.tls_version = channel.tls_version  # type: ignore[assignment]
        client.alpn = (channel.alpn or "http/1.1").encode("ascii")
    return client
