"""What one worker needs to inspect: mitmproxy's master, the modes of the listeners, TLS towards upstreams, the tasks.

Made by the mitmproxy addon once its listeners are known; the plane hands connections to it. There is none when a
script that edge.yaml names could not be loaded: then inspected sites answer 503, because a site that is to be inspected
must not be served past its addons.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from mitmproxy import connection, options, tls
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_specs import ProxyMode

from certstore.model.settings.models import ListenerSettings
from edge_addon.inspection.session import InspectedSession
from edge_addon.inspection.upstream_tls import UpstreamTls
from edge_addon.transport.channel import Channel

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from edge_addon.plane.data_plane import DataPlane

log = logging.getLogger(__name__)


class Inspector:
    """`keeps_messages`: a WebSocket's messages stay with their flow, for somebody who looks at flows (mitmweb)."""

    def __init__(self, master: Master, plane: DataPlane, *, keeps_messages: bool) -> None:
        self.master = master
        self.options: options.Options = master.options
        self.manager: Proxyserver = cast(Any, master).addons.get("proxyserver")
        self.keeps_messages = keeps_messages
        self._plane = plane
        self._modes: dict[int, ProxyMode] = {}
        self._sessions: dict[asyncio.Task[None], InspectedSession] = {}
        self._by_client: dict[str, InspectedSession] = {}
        self._upstream_tls = UpstreamTls(plane.base)

    def know_mode(self, listener: ListenerSettings, mode: ProxyMode) -> None:
        """Connections of this listener are, to addons, of this mode."""
        self._modes[id(listener)] = mode

    def mode_of(self, listener: ListenerSettings) -> ProxyMode:
        return self._modes[id(listener)]

    @property
    def running(self) -> int:
        """Connections whose handler has not ended."""
        return len(self._sessions)

    def session(self, channel: Channel) -> InspectedSession:
        """Hand the connection over: the session that it has from now on."""
        return InspectedSession(channel, self._plane, self)

    def adopt(self, task: asyncio.Task[None], session: InspectedSession) -> None:
        """Own the task of a connection until it ends."""
        self._sessions[task] = session
        self._by_client[session.client_id] = session
        task.add_done_callback(self._ended)

    def start_upstream_tls(self, data: tls.TlsData) -> None:
        """mitmproxy's `tls_start_server`: ours for connections of ours, whoever has provided one before."""
        session = self._by_client.get(data.context.client.id)
        server = data.conn
        if session is not None and isinstance(server, connection.Server) and server.address is not None:
            address = server.address
            upstream = session.upstreams.get((address[0], address[1]))
            server.sni = address[0]
            data.ssl_conn = self._upstream_tls.connection(
                (upstream.name if upstream is not None else None) or address[0], upstream
            )

    def stop(self) -> None:
        """End what still runs."""
        for task in self._sessions:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        session = self._sessions.pop(task)
        self._by_client.pop(session.client_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an inspected connection failed", exc_info=error)
